package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// source contains the names that the Go files of the repository declare.
type source struct {
	files    map[string]bool // base names of all files
	packages map[string]map[string]bool
	members  map[string]map[string]bool // the methods and fields of types, by the name of the type
	names    map[string]bool            // all declared names, and those of fields and methods
	tests    []string
}

// load parses the Go files of the repository.
func load(t *testing.T) *source {
	t.Helper()
	s := &source{
		files: map[string]bool{}, packages: map[string]map[string]bool{}, members: map[string]map[string]bool{},
		names: map[string]bool{},
	}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if entry.Name() == ".git" || entry.Name() == "dist" {
				return fs.SkipDir
			}
			return nil
		}
		s.files[entry.Name()] = true
		if filepath.Ext(name) != ".go" {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		s.add(file, strings.HasSuffix(name, "_test.go"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// add adds the declarations of a file.
func (s *source) add(file *ast.File, test bool) {
	pkg := file.Name.Name
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			name := decl.Name.Name
			if test && (strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz")) {
				s.tests = append(s.tests, name)
			}
			if test {
				continue
			}
			s.names[name] = true
			if decl.Recv == nil {
				put(s.packages, pkg, name)
			} else {
				put(s.members, typeName(decl.Recv.List[0].Type), name)
			}
		case *ast.GenDecl:
			if !test {
				s.addSpecs(pkg, decl.Specs)
			}
		}
	}
}

func (s *source) addSpecs(pkg string, specs []ast.Spec) {
	for _, spec := range specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			for _, name := range spec.Names {
				s.names[name.Name] = true
				put(s.packages, pkg, name.Name)
			}
		case *ast.TypeSpec:
			s.names[spec.Name.Name] = true
			put(s.packages, pkg, spec.Name.Name)
			var fields *ast.FieldList
			switch typ := spec.Type.(type) {
			case *ast.StructType:
				fields = typ.Fields
			case *ast.InterfaceType:
				fields = typ.Methods
			default:
				continue
			}
			for _, field := range fields.List {
				for _, name := range field.Names {
					s.names[name.Name] = true
					put(s.members, spec.Name.Name, name.Name)
				}
			}
		}
	}
}

// typeName returns the name of the type of a receiver.
func typeName(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return typeName(typ.X)
	case *ast.IndexExpr:
		return typeName(typ.X)
	case *ast.Ident:
		return typ.Name
	}
	return ""
}

func put(sets map[string]map[string]bool, key, name string) {
	if sets[key] == nil {
		sets[key] = map[string]bool{}
	}
	sets[key][name] = true
}

var (
	testName   = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	scriptName = regexp.MustCompile(`\b[\w-]+\.txtar\b|TestScripts/[\w-]+`)
)

// TestNames_Tests checks that each test that a document names exists. The name
// may be the beginning of the names of several tests, as in -run TestSessions.
func TestNames_Tests(t *testing.T) {
	s := load(t)
	for _, doc := range documents(t) {
		for _, name := range testName.FindAllString(doc.text+doc.code, -1) {
			found := name == "TestName" || name == "FuzzName" // the placeholders in SECURITY.md
			for _, test := range s.tests {
				found = found || strings.HasPrefix(test, name)
			}
			if !found {
				t.Errorf("%s: there is no test %s", doc.name, name)
			}
		}
		for _, name := range scriptName.FindAllString(doc.text+doc.code, -1) {
			script := strings.TrimSuffix(strings.TrimPrefix(name, "TestScripts/"), ".txtar") + "*.txtar"
			if found, _ := filepath.Glob(filepath.Join(root, "cmd", "kshell", "testdata", script)); len(found) == 0 {
				t.Errorf("%s: there is no script for %s", doc.name, name)
			}
		}
	}
}

// architecture returns docs/ARCHITECTURE.md.
func architecture(t *testing.T) document {
	t.Helper()
	for _, doc := range documents(t) {
		if doc.name == "docs/ARCHITECTURE.md" {
			return doc
		}
	}
	t.Fatal("there is no docs/ARCHITECTURE.md")
	return document{}
}

// TestArchitecture_Packages checks that docs/ARCHITECTURE.md names each package
// of cmd and internal.
func TestArchitecture_Packages(t *testing.T) {
	text := architecture(t).text
	for _, dir := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return err
			}
			if entry.Name() == "testdata" {
				return fs.SkipDir
			}
			files, err := filepath.Glob(filepath.Join(name, "*.go"))
			if err != nil || len(files) == 0 {
				return err
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			pkg := regexp.QuoteMeta(filepath.ToSlash(rel))
			if !regexp.MustCompile(`\b` + pkg + `([^\w/-]|$)`).MatchString(text) {
				t.Errorf("docs/ARCHITECTURE.md does not name %s", filepath.ToSlash(rel))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

var (
	codeSpan   = regexp.MustCompile("`([^`]+)`")
	filePath   = regexp.MustCompile(`^(?:[\w.-]+/)*[\w.-]+\.(?:go|sh|yml|ps1|md)$`)
	identifier = regexp.MustCompile(`^\*?([A-Za-z]\w*)(?:\.([A-Za-z]\w*))?$`)
	mixedCase  = regexp.MustCompile(`^[A-Z]\w*[a-z]|^[a-z]\w*[A-Z]`)
)

// otherModules are the packages of other modules that docs/ARCHITECTURE.md names.
var otherModules = map[string]bool{"os": true, "io": true, "rest": true, "core": true, "testing": true, "http": true}

// TestArchitecture_Names checks that the files and identifiers that
// docs/ARCHITECTURE.md contains in code spans exist.
func TestArchitecture_Names(t *testing.T) {
	s := load(t)
	for _, match := range codeSpan.FindAllStringSubmatch(architecture(t).text, -1) {
		span := match[1]
		if filePath.MatchString(span) {
			_, err := os.Stat(filepath.Join(root, filepath.FromSlash(span)))
			if strings.Contains(span, "/") && err != nil || !s.files[filepath.Base(filepath.FromSlash(span))] {
				t.Errorf("docs/ARCHITECTURE.md: there is no file %s", span)
			}
			continue
		}
		parts := identifier.FindStringSubmatch(span)
		switch {
		case parts == nil:
		case parts[2] == "":
			if mixedCase.MatchString(parts[1]) && !s.names[parts[1]] {
				t.Errorf("docs/ARCHITECTURE.md: nothing is called %s", parts[1])
			}
		case !otherModules[parts[1]] && !s.packages[parts[1]][parts[2]] && !s.members[parts[1]][parts[2]]:
			t.Errorf("docs/ARCHITECTURE.md: there is no %s", span)
		}
	}
}
