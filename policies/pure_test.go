package policies_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestDecisionsArePure keeps the rule that decisions do no I/O and ask no clock:
// rules that nobody checks erode.
func TestDecisionsArePure(t *testing.T) {
	allowed := map[string]bool{
		"cmp": true, "crypto/sha256": true, "encoding/hex": true, "errors": true, "fmt": true, "maps": true, "math/bits": true, "path": true,
		"slices": true, "strconv": true, "strings": true, "time": true, "time/tzdata": true, "regexp": true, "sort": true, "math": true, "sync": true, "encoding/binary": true, "unicode": true,
		"encoding/json": true, // values of tags and settings; no I/O
		"bytes":         true, "github.com/arran4/golang-ical": true, "github.com/teambition/rrule-go": true, "cel.dev/cel-go/cel": true, "cel.dev/cel-go/common/types": true, "cel.dev/cel-go/common/types/ref": true, "cel.dev/cel-go/common/ast": true, "cel.dev/cel-go/common/operators": true,
		"github.com/robfig/cron/v3": true, "nightshift/policies/schedule": true,
	}
	clock := map[string]bool{"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "NewTimer": true, "NewTicker": true, "AfterFunc": true, "Tick": true}
	files := 0
	for _, pattern := range []string{"*.go", "schedule/*.go", "foreign/*.go"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			files++
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range f.Imports {
				if name, _ := strconv.Unquote(i.Path.Value); !allowed[name] {
					t.Errorf("%s imports %s", set.Position(i.Pos()), name)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s starts a goroutine", set.Position(n.Pos()))
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && clock[n.Sel.Name] {
						t.Errorf("%s asks the clock: time.%s", set.Position(n.Pos()), n.Sel.Name)
					}
				}
				return true
			})
		}
	}
	if files < 8 {
		t.Errorf("%d files were read", files)
	}
}
