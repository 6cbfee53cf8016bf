package events

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed schemas
var schemaFiles embed.FS

// SchemaNames are the forms of messages that have a JSON Schema, in the order in
// which one reads them: event is the CloudEvent of NS_EVT, record its data.
func SchemaNames() []string { return []string{"event", "record", "command", "signal", "dead-letter"} }

// Schema is the JSON Schema (draft 2020-12) of a form of message, as in schemas/.
func Schema(name string) ([]byte, error) {
	if !slices.Contains(SchemaNames(), name) {
		return nil, fmt.Errorf("%q has no schema; there are %s", name, strings.Join(SchemaNames(), ", "))
	}
	return schemaFiles.ReadFile("schemas/" + name + ".json")
}

// Schemas are all of them in one document, each under $defs with an $id of its own.
func Schemas() ([]byte, error) {
	defs := make(map[string]json.RawMessage)
	for _, name := range SchemaNames() {
		text, err := Schema(name)
		if err != nil {
			return nil, err
		}
		defs[name] = text
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // <region> reads better
	err := enc.Encode(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:nightshift:v1", "$ref": "urn:nightshift:v1:event", "$defs": defs,
	})
	return out.Bytes(), err
}
