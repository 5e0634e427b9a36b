package layers_test

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"kshell/internal/remote"
	"kshell/internal/stream"
)

func TestFuncFields_NoneInSessionAndCommand(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[stream.Session](), reflect.TypeFor[remote.Command]()} {
		for _, field := range reflect.VisibleFields(typ) {
			if field.IsExported() && field.Type.Kind() == reflect.Func {
				t.Errorf("%s has the exported func field %s", typ, field.Name)
			}
		}
	}
}

// Only the package that declares a field of function type may assign to it.
// Other packages may set the field in a composite literal, as for options.
func TestFuncFields_NotAssignedByOtherPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("it loads the standard library, which takes seconds")
	}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		t.Run(goos, func(t *testing.T) {
			p := newProduct(t, goos)
			for _, dir := range productDirs(t) {
				if _, err := p.Import(modulePath + "/" + dir); err != nil {
					t.Fatal(err)
				}
			}
			for _, assignment := range p.assignments {
				t.Error(assignment)
			}
			if len(p.packages) < 20 {
				t.Errorf("only %d packages were checked", len(p.packages))
			}
		})
	}
}

// The check also finds an assignment if the type of the field is declared in
// another module.
func TestFuncFields_CheckFindsAssignments(t *testing.T) {
	if testing.Short() {
		t.Skip("it loads the standard library, which takes seconds")
	}
	p := newProduct(t, "linux")
	p.check(modulePath+"/internal/a", p.parse("a.go", `package a
		import ("net/http"; "example.com/other")
		type Options struct { Done func(); Handler http.HandlerFunc; Other other.Func; Name string; Value other.Value }
		type Outer struct { *Options }
		func New(other.Value) (*Outer, error) { return nil, nil }
		func (o *Options) set() { o.Done = nil }`))
	p.check(modulePath+"/internal/b", p.parse("b.go", `package b
		import ("kshell/internal/a"; "example.com/other")
		type own struct { Done func(); o a.Options }
		func f(x own, done func()) {
			o, _ := a.New(other.New())
			o.Done = done
			o.Name, o.Handler = "", nil
			o.Other = func() {}
			x.o.Done = nil
			x.Done, o.Value = done, other.New()
			_ = a.Options{Done: done}
		}`))
	want := []string{
		"b.go:6:6: a.Done is assigned",
		"b.go:7:14: a.Handler is assigned",
		"b.go:8:6: a.Other is assigned",
		"b.go:9:8: a.Done is assigned",
	}
	if !reflect.DeepEqual(p.assignments, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(p.assignments, "\n"), strings.Join(want, "\n"))
	}
}

const modulePath = "kshell"

// productDirs returns the directories of the product's packages, relative to
// the directory of the module.
func productDirs(t *testing.T) []string {
	t.Helper()
	dirs := []string{"cmd/kshell", "cmd/kshell-agent"}
	internal := filepath.Join("..", "..", "internal")
	err := filepath.WalkDir(internal, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || name == internal {
			return err
		}
		if name := entry.Name(); name == "sandbox" || name == "testdata" || name == "agents" { // not the product, or not Go
			return filepath.SkipDir
		}
		dir, err := filepath.Rel(filepath.Join("..", ".."), name)
		dirs = append(dirs, filepath.ToSlash(dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// standardLibrary type-checks packages of the standard library from their
// source, for the operating system of the test.
type standardLibrary struct {
	types.Importer
	files *token.FileSet
}

// loadStandardLibrary returns one standardLibrary for all tests.
var loadStandardLibrary = sync.OnceValue(func() standardLibrary {
	files := token.NewFileSet()
	return standardLibrary{importer.ForCompiler(files, "source", nil), files}
})

// product type-checks the packages of the product for one operating system, and
// records assignments of functions to fields of other packages. It does not
// load packages of other modules: their identifiers have invalid types. So it
// does not find an assignment if both the field and the value have a type of
// another module.
type product struct {
	t           *testing.T
	std         standardLibrary
	goos        string
	packages    map[string]*types.Package // the packages checked so far, by path
	assignments []string                  // the assignments that were found
}

func newProduct(t *testing.T, goos string) *product {
	return &product{t: t, std: loadStandardLibrary(), goos: goos, packages: map[string]*types.Package{}}
}

// Import implements types.Importer.
func (p *product) Import(name string) (*types.Package, error) {
	first, dir, _ := strings.Cut(name, "/")
	switch loaded := p.packages[name]; {
	case loaded != nil:
		return loaded, nil
	case strings.Contains(first, "."):
		other := types.NewPackage(name, path.Base(name))
		other.MarkComplete()
		return other, nil
	case first != modulePath:
		return p.std.Import(name)
	}
	context := build.Default
	context.GOOS, context.CgoEnabled = p.goos, false
	directory := filepath.Join("..", "..", filepath.FromSlash(dir))
	source, err := context.ImportDir(directory, 0)
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, file := range source.GoFiles {
		files = append(files, p.parse(filepath.Join(directory, file), nil))
	}
	return p.check(name, files...), nil
}

// parse parses a file. If source is nil, it reads the file; otherwise, source
// is the content of the file.
func (p *product) parse(name string, source any) *ast.File {
	file, err := parser.ParseFile(p.std.files, name, source, parser.SkipObjectResolution)
	if err != nil {
		p.t.Fatal(err)
	}
	return file
}

// check type-checks a package. It ignores errors, which are caused by the
// packages of other modules.
func (p *product) check(name string, files ...*ast.File) *types.Package {
	info := &types.Info{
		Types:      map[ast.Expr]types.TypeAndValue{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	config := types.Config{Importer: p, Error: func(error) {}}
	checked, _ := config.Check(name, p.std.files, files, info)
	p.packages[name] = checked
	for _, file := range files {
		for node := range ast.Preorder(file) {
			if assign, ok := node.(*ast.AssignStmt); ok {
				p.record(checked, info, assign)
			}
		}
	}
	return checked
}

// record records each field to which the assignment assigns a function, if
// another package of the product declares the field.
func (p *product) record(current *types.Package, info *types.Info, assign *ast.AssignStmt) {
	for i, left := range assign.Lhs {
		selector, ok := ast.Unparen(left).(*ast.SelectorExpr)
		if !ok || info.Selections[selector] == nil {
			continue
		}
		field := info.Selections[selector].Obj()
		if field.Pkg() == current || p.packages[field.Pkg().Path()] == nil {
			continue
		}
		isFunction := isFunc(field.Type())
		if len(assign.Rhs) == len(assign.Lhs) {
			isFunction = isFunction || isFunc(info.TypeOf(assign.Rhs[i]))
		}
		if isFunction {
			p.assignments = append(p.assignments, fmt.Sprintf("%s: %s.%s is assigned",
				p.std.files.Position(selector.Sel.Pos()), field.Pkg().Name(), field.Name()))
		}
	}
}

// isFunc reports whether t is a type of functions.
func isFunc(t types.Type) bool {
	if t == nil {
		return false
	}
	_, ok := t.Underlying().(*types.Signature)
	return ok
}
