package policies

import (
	"cmp"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Expr is a CEL expression over an instance: the when of a selector. It is
// checked when it is made, and safe for concurrent use.
type Expr struct {
	text    string
	program cel.Program
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
	ast, issues := exprEnv().Compile(text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		e := &ExprError{Line: first.Location.Line(), Col: first.Location.Column() + 1, Msg: strings.TrimSpace(first.Message)}
		if name, ok := strings.CutPrefix(e.Msg, "undeclared reference to '"); ok {
			e.Unknown, _, _ = strings.Cut(name, "'")
			e.Msg = fmt.Sprintf("an instance has no %q", e.Unknown)
		}
		return nil, e
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, &ExprError{Line: 1, Col: 1, Msg: fmt.Sprintf("the expression yields %s, not true or false", ast.OutputType())}
	}
	program, err := exprEnv().Program(ast, cel.CostLimit(exprCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, &ExprError{Line: 1, Col: 1, Msg: err.Error()}
	}
	return &Expr{text, program}, nil
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
