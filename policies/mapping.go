package policies

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// Mapping reads signals out of JSON that somebody else defines, by one CEL
// expression for each part of a signal. It is checked when it is made, and safe
// for concurrent use.
type Mapping struct {
	each  *MappingExpr // what it yields is a list, each item of it a signal; nil: the body is one
	parts map[string]*MappingExpr
}

// MappingExpr is the expression for one part of a signal.
type MappingExpr struct{ program cel.Program }

// MappingKeys are the parts of a signal that a mapping may have an expression for,
// and each: where the body holds several.
var MappingKeys = []string{"each", "alert", "load", "signal", "status", "value", "instance", "region", "labels", "fingerprint", "starts_at", "id"}

// MappingVars are the names that the expressions may use.
var MappingVars = []string{"body", "item", "headers"}

// MaxMapped is how many signals one body may hold.
const MaxMapped = 5000

// Mapped is a signal as somebody else writes it. Parts without an expression are
// empty.
type Mapped struct {
	Alert, Load, Signal string
	Status              string
	Value               *float64
	Instance, Region    string
	Labels              map[string]string
	Fingerprint, ID     string
	StartsAt            time.Time
	Fault               error // why it cannot be read; nil: it can
}

var mappingEnv = sync.OnceValue(func() *cel.Env {
	env, err := cel.NewEnv(cel.Variable("body", cel.DynType), cel.Variable("item", cel.DynType), cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)))
	if err != nil {
		panic(err) // the declarations above are wrong
	}
	return env
})

// ParseMappingExpr reads and checks the expression for one part. An error is an
// [*ExprError].
func ParseMappingExpr(key, text string) (*MappingExpr, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &ExprError{Line: 1, Col: 1, Msg: "the expression is empty"}
	}
	tree, issues := mappingEnv().Compile(text)
	if issues.Err() != nil {
		e := exprError(text, issues.Errors()[0])
		if e.Unknown != "" {
			e.Msg = fmt.Sprintf("there is no %q", e.Unknown)
		}
		return nil, e
	}
	want, fits := "a text", []cel.Kind{types.StringKind, types.IntKind, types.UintKind, types.DoubleKind}
	switch key {
	case "each":
		want, fits = "a list", []cel.Kind{types.ListKind}
	case "value":
		want, fits = "a number", []cel.Kind{types.IntKind, types.UintKind, types.DoubleKind}
	case "labels":
		want, fits = "a map", []cel.Kind{types.MapKind}
	case "starts_at":
		want, fits = "an instant", []cel.Kind{types.StringKind, types.TimestampKind, types.IntKind, types.DoubleKind}
	}
	if kind := tree.OutputType().Kind(); kind != types.DynKind && !slices.Contains(fits, kind) {
		return nil, &ExprError{Line: 1, Col: 1, Msg: fmt.Sprintf("the expression yields %s, not %s", tree.OutputType(), want)}
	}
	program, err := mappingEnv().Program(tree, cel.CostLimit(exprCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, &ExprError{Line: 1, Col: 1, Msg: err.Error()}
	}
	return &MappingExpr{program}, nil
}

// NewMapping puts the expressions together, by key.
func NewMapping(parts map[string]*MappingExpr) *Mapping {
	m := &Mapping{parts: make(map[string]*MappingExpr, len(parts))}
	for key, p := range parts {
		if key == "each" {
			m.each = p
		} else {
			m.parts[key] = p
		}
	}
	return m
}

// ParseMapping reads the expressions of all parts.
func ParseMapping(texts map[string]string) (*Mapping, error) {
	parts := make(map[string]*MappingExpr, len(texts))
	for key, text := range texts {
		if !slices.Contains(MappingKeys, key) {
			return nil, fmt.Errorf("a signal has no %q", key)
		}
		p, err := ParseMappingExpr(key, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		parts[key] = p
	}
	return NewMapping(parts), nil
}

// Signals reads what a body holds; numbers in it are int64 or float64. The names
// of the headers are in lower case. A signal that cannot be read says so itself;
// an error says that none can.
func (m *Mapping) Signals(body any, headers map[string]string) ([]Mapped, error) {
	if headers == nil {
		headers = map[string]string{}
	}
	if m.each == nil {
		return []Mapped{m.signal(body, body, headers)}, nil
	}
	out, _, err := m.each.program.Eval(map[string]any{"body": body, "item": body, "headers": headers})
	if err != nil {
		return nil, fmt.Errorf("each: %w", err)
	}
	items, err := asList(out)
	if err != nil {
		return nil, fmt.Errorf("each: %w", err)
	}
	if len(items) > MaxMapped {
		return nil, fmt.Errorf("each: %d signals at once, at most %d are taken", len(items), MaxMapped)
	}
	signals := make([]Mapped, len(items))
	for i, item := range items {
		signals[i] = m.signal(body, item, headers)
		if s := &signals[i]; s.ID != "" { // one id for the whole body is none for its parts
			s.ID += "/" + s.Instance
		}
	}
	return signals, nil
}

func (m *Mapping) signal(body, item any, headers map[string]string) (s Mapped) {
	vars := map[string]any{"body": body, "item": item, "headers": headers}
	for _, key := range MappingKeys { // in a fixed order, so that the same fault is named again
		x, ok := m.parts[key]
		if !ok {
			continue
		}
		out, _, err := x.program.Eval(vars)
		if err == nil {
			err = s.set(key, out)
		}
		if err != nil && s.Fault == nil {
			s.Fault = fmt.Errorf("%s: %w", key, err)
		}
	}
	return s
}

// set takes up what the expression for a part yields.
func (s *Mapped) set(key string, out ref.Val) (err error) {
	v := out.Value()
	texts := map[string]*string{"alert": &s.Alert, "load": &s.Load, "signal": &s.Signal, "status": &s.Status,
		"instance": &s.Instance, "region": &s.Region, "fingerprint": &s.Fingerprint, "id": &s.ID}
	switch key {
	case "value":
		n, err := asNumber(v)
		if err != nil {
			return err
		}
		s.Value = &n
	case "labels":
		s.Labels, err = asLabels(out)
	case "starts_at":
		s.StartsAt, err = asInstant(v)
	default:
		*texts[key], err = asText(v)
	}
	return err
}

func asText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("it yields no text")
}

func asNumber(v any) (float64, error) {
	switch v := v.(type) {
	case int64:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v, nil
		}
	}
	return 0, errors.New("it yields no number; double(…) makes one of a text")
}

func asInstant(v any) (time.Time, error) {
	switch v := v.(type) {
	case time.Time:
		return v, nil
	case int64:
		return time.Unix(v, 0).UTC(), nil
	case float64:
		if math.Abs(v) < 1e11 { // the year 5138
			return time.UnixMilli(int64(v * 1000)).UTC(), nil
		}
	case string:
		if v == "" {
			return time.Time{}, nil
		}
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("it yields no instant, such as 2026-11-27T19:00:00Z or unix seconds")
}

// asList makes a plain list of what CEL made itself; what came in is returned as
// it was.
func asList(out ref.Val) ([]any, error) {
	if list, ok := out.Value().([]any); ok {
		return list, nil
	}
	plain, err := out.ConvertToNative(types.JSONListType)
	if list, ok := plain.(interface{ AsSlice() []any }); err == nil && ok {
		return list.AsSlice(), nil
	}
	return nil, errors.New("it yields no list")
}

// asLabels makes texts of all values that are scalars, and leaves the others out.
func asLabels(out ref.Val) (map[string]string, error) {
	fields, ok := out.Value().(map[string]any)
	if !ok {
		plain, err := out.ConvertToNative(types.JSONStructType)
		m, isMap := plain.(interface{ AsMap() map[string]any })
		if err != nil || !isMap {
			return nil, errors.New("it yields no map of texts")
		}
		fields = m.AsMap()
	}
	labels := make(map[string]string, len(fields))
	for k, v := range fields {
		if text, err := asText(v); err == nil {
			labels[k] = text
		}
	}
	return labels, nil
}
