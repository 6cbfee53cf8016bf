package configs_test

import (
	"strings"
	"testing"

	"nightshift/configs"
)

func TestSizes(t *testing.T) {
	for text, want := range map[string]configs.Size{"100MiB": 100 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40} {
		if got, err := configs.ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{"99MiB": "at least 100MiB", "1GB": "write it as", "": "write it as", "-1GiB": "write it as", "99999999999TiB": "more than there can be", "99999999999999999999GiB": "more than there can be"} {
		if got, err := configs.ParseSize(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %d, %v, want %q", text, got, err, want)
		}
	}
}
