package schedule

import (
	"bytes"
	"fmt"
)

// maxICal bounds the size of a file in bytes; a calendar of holidays has a few
// thousand.
const maxICal = 8 << 20

// The time that the library takes for a line grows with its length times its
// parameters; maxSkimmed bounds the sum of that.
const maxSkimmed = 1 << 29

// skimmed are the properties that are read, of events and of the calendar.
var skimmed = map[string]bool{
	"UID": true, "SUMMARY": true, "STATUS": true, "DTSTART": true, "DTEND": true, "DURATION": true,
	"RRULE": true, "RDATE": true, "EXDATE": true, "RECURRENCE-ID": true, "X-WR-TIMEZONE": true,
}

// skim keeps of an iCalendar file what is read of it: the events, without what
// else programs put there. So nothing in an attachment or a list of guests can
// make a file unreadable, and the library, which calls itself for components
// within components, is never led deeper than two.
func skim(data []byte) ([]byte, error) {
	if len(data) > maxICal {
		return nil, fmt.Errorf("the file has %d bytes, at most %d are read", len(data), maxICal)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var head, events bytes.Buffer
	depth, keep, work, ended := 0, false, 0, false
	for line := range logicalLines(data) {
		name := line[:max(0, bytes.IndexAny(line, ":;"))]
		name = bytes.ToUpper(name)
		value := bytes.ToUpper(bytes.TrimSpace(line[min(len(line), len(name)+1):]))
		switch word := string(name); {
		case depth == 0 && (word != "BEGIN" || string(value) != "VCALENDAR"):
			if len(bytes.TrimSpace(line)) > 0 {
				return nil, fmt.Errorf("not an iCalendar file: %q stands outside of BEGIN:VCALENDAR", line[:min(len(line), 40)])
			}
		case word == "BEGIN":
			if depth++; depth == 2 {
				keep = string(value) == "VEVENT"
			}
			if depth == 2 && keep {
				events.WriteString("BEGIN:VEVENT\r\n")
			}
		case word == "END":
			if depth == 2 && keep {
				events.WriteString("END:VEVENT\r\n")
			}
			depth--
			ended = depth == 0
		case !skimmed[word], depth == 2 && !keep, depth > 2:
		default:
			work += len(line) * (1 + bytes.Count(line, []byte(",")) + bytes.Count(line, []byte(";")))
			if work > maxSkimmed {
				return nil, fmt.Errorf("the lines of the file are too long, as %s", word)
			}
			into := &events
			if depth == 1 {
				into = &head
			}
			into.Write(name)
			into.Write(line[len(name):])
			into.WriteString("\r\n")
		}
	}
	if !ended || depth != 0 {
		return nil, fmt.Errorf("not a whole iCalendar file: it does not end with END:VCALENDAR")
	}
	return bytes.Join([][]byte{[]byte("BEGIN:VCALENDAR\r\n"), head.Bytes(), events.Bytes(), []byte("END:VCALENDAR\r\n")}, nil), nil
}

// logicalLines unfolds lines: one that begins with a blank goes on with the last.
func logicalLines(data []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		var line []byte
		for len(data) > 0 {
			raw, rest, _ := bytes.Cut(data, []byte("\n"))
			data = rest
			raw = bytes.TrimSuffix(raw, []byte("\r"))
			line = append(line, raw...)
			if len(data) > 0 && (data[0] == ' ' || data[0] == '\t') {
				data = data[1:]
				continue
			}
			if !yield(line) {
				return
			}
			line = line[:0]
		}
	}
}
