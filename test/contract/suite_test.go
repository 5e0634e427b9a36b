package contract

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// Every test of the e2e suite begins with inCI(t) or notInCI(t). Running the
// suite needs a cluster, so this test parses its files.
func TestSuite_EveryTestIsMarked(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../e2e/suite/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") || f.Name.Name == "TestMain" {
				continue
			}
			if !beginsWithMark(f) {
				t.Errorf("%s: %s does not begin with inCI(t) or notInCI(t)", file, f.Name.Name)
				continue
			}
			marked++
		}
	}
	if marked == 0 {
		t.Error("there are no tests in test/e2e/suite")
	}
}

func beginsWithMark(f *ast.FuncDecl) bool {
	if len(f.Body.List) == 0 {
		return false
	}
	statement, ok := f.Body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := statement.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	name, ok := call.Fun.(*ast.Ident)
	return ok && (name.Name == "inCI" || name.Name == "notInCI")
}
