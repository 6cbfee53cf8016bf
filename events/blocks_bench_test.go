package events

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkCheckBlocks looks through 64 MB of messages of 1 KB, as the start does, and
// bare reads the same files.
func BenchmarkCheckBlocks(b *testing.B) {
	const size, files, each = 1 << 10, 8, 8 << 10
	dir := b.TempDir()
	msgs := filepath.Join(dir, "jetstream", "$G", "streams", StreamEvt, "msgs")
	if err := os.MkdirAll(msgs, 0o700); err != nil {
		b.Fatal(err)
	}
	seq := uint64(0)
	for n := range files {
		var block bytes.Buffer
		for range each {
			seq++
			msg := make([]byte, size)
			binary.LittleEndian.PutUint32(msg, size)
			binary.LittleEndian.PutUint64(msg[4:], seq)
			block.Write(msg)
		}
		if err := os.WriteFile(filepath.Join(msgs, string(rune('1'+n))+".blk"), block.Bytes(), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("nightshift", func(b *testing.B) {
		b.SetBytes(size * files * each)
		for b.Loop() {
			if err := checkBlocks(dir); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		b.SetBytes(size * files * each)
		for b.Loop() {
			paths, _ := filepath.Glob(filepath.Join(msgs, "*"))
			for _, path := range paths {
				if _, err := os.ReadFile(path); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
