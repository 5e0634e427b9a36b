package contract

import (
	"os"
	"strings"
	"testing"
)

// Every difference from kubectl is documented, with its reason.
func TestKubectlDifferences_Documented(t *testing.T) {
	t.Parallel()
	const path = "../../docs/kubectl.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Cases() {
		if c.Differs != "" && !strings.Contains(string(page), c.Differs) {
			t.Errorf("%s does not give the reason for the difference of %q: %s", path, c.Name, c.Differs)
		}
	}
}
