package civo

import (
	"context"
	"iter"
	"maps"
	"net/http"
	"net/url"
	"strconv"
)

const (
	// defaultPerPage puts nearly every account's region on one page, which cannot
	// change while it is read; it is about 5 MB when it is full.
	defaultPerPage = 5000
	// maxLists bounds how often a list is begun anew because the set changed
	// while its pages were read.
	maxLists = 5
)

type page[T any] struct {
	Page  int `json:"page"`
	Pages int `json:"pages"`
	Items []T `json:"items"`
}

// paged iterates over a paginated list. The API documents no stable order and no
// total, and the set may change between two pages, so that an item moves from
// one that is still to be read to one that was. What has several pages is
// therefore read until two passes in a row saw the same; each item is handed on
// once, when it is first seen.
func paged[T any](ctx context.Context, c *Client, op, path, region string, query url.Values, id func(T) string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		seen := make(map[string]bool)
		var before map[string]bool // ids of the pass before
		for attempt := 1; ; attempt++ {
			pages := 0
			now := make(map[string]bool)
			for n := 1; n == 1 || n <= pages; n++ {
				p, err := readPage[T](ctx, c, op, path, region, query, n)
				if err != nil {
					yield(none, err)
					return
				}
				pages = p.Pages
				for _, item := range p.Items {
					now[id(item)] = true
					if seen[id(item)] {
						continue
					}
					seen[id(item)] = true
					if !yield(item, nil) {
						return
					}
				}
			}
			changed := pages > 1 && !maps.Equal(before, now)
			before = now
			if !changed {
				return
			}
			if attempt == maxLists {
				yield(none, &Error{Op: op, Region: region, Reason: "the set keeps changing while its pages are read", kind: ErrUnavailable})
				return
			}
		}
	}
}

func readPage[T any](ctx context.Context, c *Client, op, path, region string, query url.Values, n int) (page[T], error) {
	q := url.Values{"per_page": {strconv.Itoa(defaultPerPage)}}
	maps.Copy(q, query)
	q.Set("page", strconv.Itoa(n))
	var p page[T]
	err := c.do(ctx, call{op: op, method: http.MethodGet, path: path, region: region, query: q}, &p)
	if err == nil && p.Items == nil {
		err = &Error{Op: op, Region: region, Status: http.StatusOK, Reason: "the answer has no items", kind: ErrUnavailable}
	}
	return p, err
}
