package policies

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// Expr is a CEL expression over an instance: the when of a selector. It is
// checked when it is made, and safe for concurrent use.
type Expr struct {
	text    string
	program cel.Program
	tags    []string // that every instance has for which it is true, as far as the text says so
}

// exprCost bounds the work of one evaluation, so that no expression can hold a
// plan up; ordinary ones cost a few dozen.
const exprCost = 100_000

// ExprFields are the names that an expression may use.
var ExprFields = []string{"id", "hostname", "region", "size", "status", "tags", "firewall_id", "network_id", "public_ip", "private_ip",
	"cpu_cores", "ram_mb", "disk_gb", "created_at"}

// exprEnv is made at its first use: it takes milliseconds.
var exprEnv = sync.OnceValue(func() *cel.Env {
	str := cel.StringType
	env, err := cel.NewEnv(
		cel.Variable("id", str), cel.Variable("hostname", str), cel.Variable("region", str), cel.Variable("size", str), cel.Variable("status", str),
		cel.Variable("tags", cel.ListType(str)), cel.Variable("firewall_id", str), cel.Variable("network_id", str),
		cel.Variable("public_ip", str), cel.Variable("private_ip", str), cel.Variable("cpu_cores", cel.IntType),
		cel.Variable("ram_mb", cel.IntType), cel.Variable("disk_gb", cel.IntType), cel.Variable("created_at", cel.TimestampType))
	if err != nil {
		panic(err) // the declarations above are wrong
	}
	return env
})

// ExprError says where in an expression a fault is.
type ExprError struct {
	Line, Col int // from 1
	Msg       string
	Unknown   string // a name that is not known; else empty
}

func (e *ExprError) Error() string { return e.Msg }

// ParseExpr reads and type-checks an expression, which must yield true or false.
// An error is an [*ExprError].
func ParseExpr(text string) (*Expr, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &ExprError{Line: 1, Col: 1, Msg: "the expression is empty"}
	}
	tree, issues := exprEnv().Compile(text)
	if issues.Err() != nil {
		return nil, exprError(text, issues.Errors()[0])
	}
	if !tree.OutputType().IsExactType(cel.BoolType) {
		return nil, &ExprError{Line: 1, Col: 1, Msg: fmt.Sprintf("the expression yields %s, not true or false", tree.OutputType())}
	}
	program, err := exprEnv().Program(tree, cel.CostLimit(exprCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, &ExprError{Line: 1, Col: 1, Msg: err.Error()}
	}
	return &Expr{text, program, neededTags(tree.NativeRep().Expr())}, nil
}

// exprError says what CEL found in our words, where we have any.
func exprError(text string, first *cel.Error) *ExprError {
	e := &ExprError{Line: max(1, first.Location.Line()), Col: max(1, first.Location.Column()+1), Msg: strings.TrimSpace(first.Message)}
	rest, ok := strings.CutPrefix(e.Msg, "undeclared reference to '")
	if !ok {
		return e
	}
	name, _, _ := strings.Cut(rest, "'")
	if isCall(text, e.Line, e.Col) {
		e.Msg = fmt.Sprintf("there is no function %q", name)
		return e
	}
	e.Unknown, e.Msg = name, fmt.Sprintf("an instance has no %q", name)
	return e
}

// isCall reports whether a bracket opens at a place: that is where CEL says that a
// call is.
func isCall(text string, line, col int) bool {
	lines := strings.Split(text, "\n")
	if line > len(lines) {
		return false
	}
	runes := []rune(lines[line-1])
	return col <= len(runes) && runes[col-1] == '('
}

// neededTags are the literals of all "tag" in tags that an expression joins by &&,
// so that it need not be asked about instances without them.
func neededTags(e ast.Expr) []string {
	if e.Kind() != ast.CallKind {
		return nil
	}
	switch args := e.AsCall().Args(); e.AsCall().FunctionName() {
	case operators.LogicalAnd:
		var tags []string
		for _, a := range args {
			tags = append(tags, neededTags(a)...)
		}
		return tags
	case operators.In:
		if args[0].Kind() == ast.LiteralKind && args[1].Kind() == ast.IdentKind && args[1].AsIdent() == "tags" {
			if tag, ok := args[0].AsLiteral().Value().(string); ok {
				return []string{tag}
			}
		}
	}
	return nil
}

// String is the text of the expression.
func (x *Expr) String() string { return x.text }

// Matches evaluates the expression. What cannot be evaluated, such as an index
// beyond the end of the tags, matches nothing; Eval says why.
func (x *Expr) Matches(i Instance) bool { return x.matches(&i) }

func (x *Expr) matches(i *Instance) bool {
	ok, err := x.eval(i)
	return ok && err == nil
}

// Eval evaluates the expression for an instance.
func (x *Expr) Eval(i Instance) (bool, error) { return x.eval(&i) }

func (x *Expr) eval(i *Instance) (bool, error) {
	out, _, err := x.program.Eval(exprVars{i})
	if err != nil {
		return false, fmt.Errorf("when %q on instance %s: %w", x.text, cmp.Or(i.Hostname, i.ID), err)
	}
	return out == types.True, nil
}

// exprVars gives an expression the fields of an instance, those that it asks for.
type exprVars struct{ i *Instance }

func (v exprVars) ResolveName(name string) (any, bool) {
	switch name {
	case "id":
		return v.i.ID, true
	case "hostname":
		return v.i.Hostname, true
	case "region":
		return v.i.Region, true
	case "size":
		return v.i.Size, true
	case "status":
		return v.i.Status, true
	case "tags":
		if v.i.Tags == nil {
			return []string{}, true
		}
		return v.i.Tags, true
	case "firewall_id":
		return v.i.FirewallID, true
	case "network_id":
		return v.i.NetworkID, true
	case "public_ip":
		return v.i.PublicIP, true
	case "private_ip":
		return v.i.PrivateIP, true
	case "cpu_cores":
		return int64(v.i.CPUCores), true
	case "ram_mb":
		return int64(v.i.RAMMB), true
	case "disk_gb":
		return int64(v.i.DiskGB), true
	case "created_at":
		return v.i.CreatedAt, true
	}
	return nil, false
}

func (v exprVars) Parent() cel.Activation { return nil }
