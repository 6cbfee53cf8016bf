package civosim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// maxBody is how much of a request body is read, in bytes, packed or not.
const maxBody = 1 << 20

var errTooLarge = errors.New("request body is larger than 1 MiB")

// params are the parameters of a request, wherever they were written.
type params struct {
	query, body url.Values
	raw         map[string]json.RawMessage // of a JSON body: what is no scalar
}

// text returns a parameter: that of the body first, then that of the query.
// Several values become one, separated by spaces.
func (p params) text(key string) string {
	v, _ := p.find(key)
	return v
}

func (p params) find(key string) (string, bool) {
	for _, from := range []url.Values{p.body, p.query} {
		if v, ok := from[key]; ok {
			return strings.Join(v, " "), true
		}
	}
	return "", false
}

// regionCode is looked for in the query first, then in the body.
func (p params) regionCode() string {
	if v := p.query.Get("region"); v != "" {
		return v
	}
	return p.body.Get("region")
}

// readParams reads the query and the body of a request, whatever form it has.
func readParams(r *http.Request) (params, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return params{}, fmt.Errorf("query cannot be read: %w", err)
	}
	p := params{query: query}
	data, err := readBody(r.Body)
	if err != nil || len(bytes.TrimSpace(data)) == 0 {
		return p, err
	}
	kind, attrs, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case kind == "multipart/form-data":
		p.body, err = readMultipart(data, attrs["boundary"])
	case looksLikeJSON(data, kind):
		p.body, p.raw, err = readJSON(data)
	default:
		p.body, err = url.ParseQuery(string(bytes.TrimSpace(data)))
	}
	if err != nil {
		return p, fmt.Errorf("request body cannot be read: %w", err)
	}
	return p, nil
}

// readBody reads a body and unpacks it when it really is packed: the official
// client says so of bodies that are not (civo/civogo#273).
func readBody(body io.Reader) ([]byte, error) {
	if body == nil {
		return nil, nil
	}
	data, err := readBounded(body)
	if err != nil || !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return data, err
	}
	packed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return readBounded(packed)
}

func readBounded(from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxBody+1))
	if err == nil && len(data) > maxBody {
		err = errTooLarge
	}
	return data, err
}

// looksLikeJSON goes by the first byte, since clients send JSON under the
// header of a form and the other way round, and by the header where that is not
// enough.
func looksLikeJSON(data []byte, kind string) bool {
	switch first := bytes.TrimSpace(data)[0]; {
	case first == '{' || first == '[':
		return true
	case kind == "application/json" || strings.HasSuffix(kind, "+json"):
		return json.Valid(data)
	default:
		return first == '"' && json.Valid(data) || string(bytes.TrimSpace(data)) == "null"
	}
}

// readJSON turns an object into values. Anything else that is valid JSON counts
// as empty; null is the same as nothing.
func readJSON(data []byte) (url.Values, map[string]json.RawMessage, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		if json.Valid(data) {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	lower := make(map[string]json.RawMessage, len(raw))
	for key, text := range raw { // the official client sends the names of webhooks' fields in upper case
		if small := strings.ToLower(key); small == key || raw[small] == nil {
			lower[small] = text
		}
	}
	values := make(url.Values, len(lower))
	for key, text := range lower {
		if v, ok := scalars(text); ok {
			values[key] = v
		}
	}
	return values, lower, nil
}

// scalars reads a string, number or boolean as text, and a list of them as
// several; null and objects have no text.
func scalars(text json.RawMessage) ([]string, bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, false
	}
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	out := []string{}
	for _, item := range list {
		switch item := item.(type) {
		case string:
			out = append(out, item)
		case json.Number:
			out = append(out, item.String())
		case bool:
			out = append(out, fmt.Sprint(item))
		default:
			return nil, false
		}
	}
	return out, true
}

func readMultipart(data []byte, boundary string) (url.Values, error) {
	if boundary == "" {
		return nil, errors.New("multipart without a boundary")
	}
	form, err := multipart.NewReader(bytes.NewReader(data), boundary).ReadForm(maxBody)
	if err != nil {
		return nil, err
	}
	defer func() { _ = form.RemoveAll() }() // nothing is on disk: all of it fits
	values := url.Values(form.Value)
	for key, files := range form.File { // a script may be sent as a file
		for _, f := range files {
			file, err := f.Open()
			if err != nil {
				return nil, err
			}
			content, err := io.ReadAll(file)
			_ = file.Close()
			if err != nil {
				return nil, err
			}
			values.Add(key, string(content))
		}
	}
	return values, nil
}
