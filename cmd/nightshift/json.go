package main

import (
	"encoding/json"
	"io"
)

// printJSON prints a value for programs, and for people who read along.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // a > stays a >
	return enc.Encode(v)
}
