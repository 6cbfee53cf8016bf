package migrate

import (
	"maps"
	"slices"
	"strings"
)

// filters makes a selector of a policy's filters, which are ANDed. Time filters
// are put aside; what has no counterpart refuses the policy.
func (c *custodian) filters(v any, h *offhours, verb string, times *[]map[string]any) (sel selector) {
	for _, f := range list(v) {
		if s, ok := f.(string); ok {
			f = map[string]any{"type": s}
		}
		m, ok := f.(map[string]any)
		if !ok {
			h.refuse("a filter is neither a name nor a mapping")
			continue
		}
		kind, _ := m["type"].(string)
		switch {
		case kind == "offhour" || kind == "onhour":
			*times = append(*times, m)
		case kind == "marked-for-op":
			tag, _ := m["tag"].(string)
			h.refuse("it waits for marks in the tag %s, which nightshift does not follow; owners write nightshift.mark=stop@2026-12-01T18:00 instead", orUnnamed(tag, "maid_status"))
		case ignorable(m, verb):
		default:
			sel = sel.with(c.filter(m, h))
		}
	}
	return sel
}

// ignorable finds filters by a state in which alone the action does something:
// nightshift acts on those only, anyway.
func ignorable(m map[string]any, verb string) bool {
	key, _ := m["key"].(string)
	value := m["value"]
	if m["type"] == nil && len(m) == 1 {
		for key, value = range m {
		}
	} else if m["type"] != "value" || m["op"] != nil && m["op"] != "eq" && m["op"] != "equal" {
		return false
	}
	state, _ := value.(string)
	switch key {
	case "State.Name", "status":
		switch strings.ToLower(state) {
		case "running":
			return verb == "stop"
		case "stopped", "terminated":
			return verb == "start"
		}
	}
	return false
}

// filter makes a selector of one filter.
func (c *custodian) filter(m map[string]any, h *offhours) selector {
	kind, typed := m["type"].(string)
	if typed && kind != "value" {
		h.refuse("its filter %s has no counterpart", orUnnamed(kind, "without a type"))
		return selector{}
	}
	if typed {
		key, _ := m["key"].(string)
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !slices.Contains([]string{"type", "key", "op", "value"}, k) {
				h.refuse("%s of the filter on %s has no counterpart", k, key)
			}
		}
		op, _ := m["op"].(string)
		return c.value(key, op, m["value"], h)
	}
	if len(m) != 1 {
		h.refuse("a filter has %d keys and no type", len(m))
		return selector{}
	}
	for key, value := range m {
		switch key {
		case "and":
			return c.all(value, h)
		case "or":
			parts := c.each(value, h)
			if s, ok := either(parts); ok {
				return s
			}
			h.refuse("its or has parts that no list of tags can say")
		case "not":
			s := c.all(value, h)
			if n, ok := s.negated(); ok {
				return n
			}
			h.refuse("its not has parts that no list of tags can say")
		default:
			return c.value(key, "", value, h)
		}
	}
	return selector{}
}

func (c *custodian) each(v any, h *offhours) (parts []selector) {
	for _, f := range list(v) {
		m, ok := f.(map[string]any)
		if s, isText := f.(string); isText {
			m, ok = map[string]any{"type": s}, true
		}
		if !ok {
			h.refuse("a filter is neither a name nor a mapping")
			continue
		}
		parts = append(parts, c.filter(m, h))
	}
	return parts
}

func (c *custodian) all(v any, h *offhours) (sel selector) {
	for _, s := range c.each(v, h) {
		sel = sel.with(s)
	}
	return sel
}

// value makes a selector of a comparison with a tag.
func (c *custodian) value(key, op string, value any, h *offhours) selector {
	tag, ok := strings.CutPrefix(key, "tag:")
	if !ok || tag == "" {
		h.refuse("its filter on %s has no counterpart", orUnnamed(key, "an unnamed key"))
		return selector{}
	}
	var values []string
	for _, v := range list(value) {
		s, ok := v.(string)
		if !ok {
			h.refuse("the tag %s is compared with %v, which is no text: at Custodian that never matches; if a text was meant, put it in quotes", tag, v)
			return selector{}
		}
		values = append(values, s)
	}
	if len(values) == 0 {
		h.refuse("the filter on the tag %s compares with nothing", tag)
		return selector{}
	}
	_, many := value.([]any)
	lists := slices.Contains([]string{"in", "not-in", "ni"}, op)
	if many != lists {
		h.refuse("the filter on the tag %s does not fit its value", tag)
		return selector{}
	}
	switch op {
	case "", "eq", "equal":
		switch {
		case values[0] == "absent":
			return untagged(tag)
		case values[0] == "present":
			return tagged(tag)
		case values[0] == "not-null":
			return selector{all: []string{literal(tag) + "=?*"}}
		case values[0] == "empty":
			return selector{none: []string{literal(tag) + "=?*"}}
		}
		return tagIs(tag, values...)
	case "ne", "not-equal", "not-in", "ni":
		s, _ := tagIs(tag, values...).negated()
		return s
	case "in":
		return tagIs(tag, values...)
	case "glob":
		if !strings.ContainsAny(values[0], `[\`) {
			return selector{all: []string{literal(tag) + "=" + values[0]}}
		}
	case "contains":
		return selector{all: []string{literal(tag) + "=*" + literal(values[0]) + "*"}}
	}
	h.refuse("%s on the tag %s has no counterpart", orUnnamed(op, "the comparison"), tag)
	return selector{}
}
