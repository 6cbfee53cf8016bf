package events

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/minio/highwayhash"
)

// A message whose sequence was damaged on the disk ends the embedded server, one way
// or the other: when it reads the block it makes room for each sequence between, until
// there is no memory left (filestore.go, indexCacheBuf), and it says nothing. NS_IN is
// read while the server starts, the others as soon as somebody looks. So the blocks
// are looked through before it starts.

// The form of a message in a block: length, sequence, time, length of the subject;
// subject and body; checksum.
const (
	blockHeader   = 4 + 8 + 8 + 2
	blockSum      = 8
	blockHeaders  = 1 << 31 // in the length: there are headers
	blockSequence = 1<<62 - 1
	// blockLargest is the longest that the server takes for a message.
	blockLargest = 32 << 20
	// blockGap is how far sequences in a block lie apart at most without the message's
	// being looked at: the server needs four bytes for each between.
	blockGap = 1 << 20
)

// checkBlocks looks through all messages of a store for what the server could not bear.
func checkBlocks(dir string) error {
	paths, err := filepath.Glob(filepath.Join(escapeGlob(dir), "jetstream", "*", "streams", "*", "msgs", "*.blk"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		streamDir := filepath.Dir(filepath.Dir(path))
		at, ok, err := checkBlock(path, filepath.Base(streamDir))
		if err != nil {
			return fmt.Errorf("data directory %s: %w", dir, err)
		}
		if !ok {
			return fmt.Errorf("data directory %s is damaged: the message at byte %d of %s has lost its sequence, and the embedded NATS would take all memory over it: restore the newest good backup, or move %s away, then what came before is not done any more; docs/recovery.md says more", dir, at, path, streamDir)
		}
	}
	return nil
}

// escapeGlob makes a directory stand for itself in a pattern.
func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// checkBlock reads the messages of one file; at is where one is that is not as it was
// written and would be taken for one far away. What else is damaged the server finds.
func checkBlock(path, stream string) (at int64, ok bool, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = file.Close() }() // it was only read
	r := bufio.NewReaderSize(file, 256<<10)
	var last uint64
	for {
		header, err := r.Peek(blockHeader)
		if errors.Is(err, io.EOF) {
			return 0, true, nil // whole, or cut off: that the server finds
		}
		if err != nil {
			return at, false, err
		}
		length := binary.LittleEndian.Uint32(header)
		size := int(length &^ blockHeaders)
		if size < blockHeader+blockSum || size > blockLargest {
			return 0, true, nil // that the server finds
		}
		seq := binary.LittleEndian.Uint64(header[4:]) & blockSequence
		if seq > last && seq-last > blockGap {
			whole := make([]byte, size)
			if _, err := io.ReadFull(r, whole); errors.Is(err, io.ErrUnexpectedEOF) {
				return at, false, nil
			} else if err != nil {
				return at, false, err
			}
			if !isWhole(whole, stream, path) {
				return at, false, nil
			}
		} else if _, err := r.Discard(size); errors.Is(err, io.EOF) {
			return 0, true, nil
		} else if err != nil {
			return at, false, err
		}
		last = max(last, seq)
		at += int64(size)
	}
}

// isWhole compares the checksum of a message, which the server makes with a key for
// each block.
func isWhole(msg []byte, stream, path string) bool {
	key := sha256.Sum256([]byte(stream + "-" + strings.TrimSuffix(filepath.Base(path), ".blk")))
	sum, err := highwayhash.New64(key[:])
	if err != nil {
		return false
	}
	subject := int(binary.LittleEndian.Uint16(msg[20:]))
	body, end := blockHeader+subject, len(msg)-blockSum
	if binary.LittleEndian.Uint32(msg)&blockHeaders != 0 {
		body += 4 // the length of the headers is not in it
	}
	if body > end {
		return false
	}
	_, _ = sum.Write(msg[4:20]) // a hash takes all
	_, _ = sum.Write(msg[blockHeader : blockHeader+subject])
	_, _ = sum.Write(msg[body:end])
	return bytes.Equal(sum.Sum(nil), msg[end:])
}
