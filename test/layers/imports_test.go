// Package layers_test checks rules that hold for all packages of the product.
// The linter depguard checks which package may import which; see .golangci.yml.
package layers_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestImports_RuleForEachPackage(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join("..", "..", ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range productDirs(t) {
		if dir != "cmd/kshell" && !bytes.Contains(rules, []byte(`["**/`+dir+`/*.go"`)) {
			t.Errorf(".golangci.yml has no depguard rule for %s", dir)
		}
	}
}
