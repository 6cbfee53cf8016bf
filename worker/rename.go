package worker

import (
	"context"
	"maps"
	"strings"

	"nightshift/policies"
)

// A policy that was renamed carries on the history of its former name (was): all
// that memory holds is under the name that is in force. The store keeps what it has
// under the name that it was stored by, and stored plans name their policies as
// they were; both are translated as they are taken up.

// rename takes up which names are in force from now on.
func (m *memory) rename(set *policies.Set) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.former = make(map[string]string)
	for i := range set.Policies {
		if p := &set.Policies[i]; p.Was != "" {
			m.former[p.Was] = p.Name
		}
	}
	if len(m.former) == 0 {
		return
	}
	renameKeys(m, m.cooldowns)
	renameKeys(m, m.loads)
	renameKeys(m, m.lessons)
	renameKeys(m, m.sizes)
	renameKeys(m, m.breakers)
	for key, l := range m.lessons {
		l.before = m.renamed(l.before)
		m.lessons[key] = l
	}
	for id, list := range m.impulses {
		m.impulses[id] = m.renamed(list)
	}
}

// nameNow is the name that a policy has now. Callers hold mu.
func (m *memory) nameNow(policy string) string {
	if now, ok := m.former[policy]; ok {
		return now
	}
	return policy
}

// nameInForce is the same for who holds no lock.
func (m *memory) nameInForce(policy string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nameNow(policy)
}

// renamed are impulses under the names that are in force. Callers hold mu.
func (m *memory) renamed(list []policies.Impulse) []policies.Impulse {
	out := make([]policies.Impulse, len(list))
	for i, imp := range list {
		imp.Policy = m.nameNow(imp.Policy)
		out[i] = imp
	}
	return out
}

// renameKeys does so with keys that are a policy, or a policy and an instance.
// What there is under the new name is newer. Callers hold mu.
func renameKeys[T any](m *memory, of map[string]T) {
	for key, v := range maps.Clone(of) {
		policy, instance, both := strings.Cut(key, "/")
		now, ok := m.former[policy]
		if !ok {
			continue
		}
		delete(of, key)
		if both {
			now = policies.CooldownKey(now, instance)
		}
		if _, there := of[now]; !there {
			of[now] = v
		}
	}
}

// forgetState deletes what ns_state has of a policy, under its former name too:
// else that would come back with the next start.
func (m *memory) forgetState(ctx context.Context, prefix, policy, rest string) error {
	if was := m.nameBefore(policy); was != "" {
		if err := m.bus.State().Delete(ctx, prefix+was+rest); err != nil {
			return err
		}
	}
	return m.bus.State().Delete(ctx, prefix+policy+rest)
}

// nameBefore is the name that a policy had; empty: it had none.
func (m *memory) nameBefore(policy string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for was, now := range m.former {
		if now == policy {
			return was
		}
	}
	return ""
}
