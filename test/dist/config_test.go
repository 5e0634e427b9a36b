// Package dist checks the configuration of the packages of a release, with
// goreleaser's own decoder. It is a module, so that goreleaser does not appear in
// the go.mod of kshell. "make dist" also makes the packages.
package dist

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

// root is the directory of the repository.
var root = filepath.Join("..", "..")

func load(t *testing.T) config.Project {
	t.Helper()
	project, err := config.Load(filepath.Join(root, ".goreleaser.yaml")) // unknown keys are errors
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestPlatforms checks that the packages are made for the platforms of "make
// cross".
func TestPlatforms(t *testing.T) {
	builds := load(t).Builds
	if len(builds) != 1 {
		t.Fatalf("%d builds", len(builds))
	}
	var got []string
	for _, goos := range builds[0].Goos {
		for _, goarch := range builds[0].Goarch {
			got = append(got, goos+"/"+goarch)
		}
	}
	line := regexp.MustCompile(`(?m)^PLATFORMS := (.*)$`).FindStringSubmatch(read(t, "Makefile"))
	if line == nil {
		t.Fatal("the Makefile has no PLATFORMS")
	}
	want := strings.Fields(line[1])
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("platforms %v, want %v", got, want)
	}
}

// TestStamps checks that the variables that the linker sets exist: the linker
// ignores unknown names.
func TestStamps(t *testing.T) {
	flags := strings.Join(load(t).Builds[0].Ldflags, " ")
	source := read(t, "cmd/kshell/version.go")
	for _, name := range []string{"version", "commit"} {
		if !strings.Contains(flags, "-X main."+name+"=") {
			t.Errorf("the build does not set main.%s: %s", name, flags)
		}
		if !regexp.MustCompile(`(?m)^\t` + name + ` +=`).MatchString(source) {
			t.Errorf("cmd/kshell/version.go has no variable %s", name)
		}
	}
}

// TestFiles checks that the files that packages contain exist, except those that
// "make dist-files" makes, and that each package has the license.
func TestFiles(t *testing.T) {
	project := load(t)
	var sources []string
	for _, archive := range project.Archives {
		for _, file := range archive.Files {
			sources = append(sources, file.Source)
		}
	}
	if !slices.Contains(sources, "LICENSE") {
		t.Error("the archives have no LICENSE")
	}
	for _, pkg := range project.NFPMs {
		for _, packager := range pkg.Formats {
			if !slices.ContainsFunc(pkg.Contents, func(c config.NFPMContent) bool {
				return c.Source == "LICENSE" && (c.Packager == "" || c.Packager == packager)
			}) {
				t.Errorf("the package %s has no LICENSE", packager)
			}
		}
		for _, content := range pkg.Contents {
			if content.Type != "symlink" {
				sources = append(sources, content.Source)
			}
		}
	}
	for _, source := range sources {
		if strings.HasPrefix(source, project.Dist[:len("dist")]+"/") {
			continue // made by "make dist-files"
		}
		matches, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(source)))
		if err != nil || len(matches) == 0 {
			t.Errorf("there is no file %s (%v)", source, err)
		}
	}
}

// TestNothingIsPublished checks that the configuration publishes nothing, and
// that the addresses are placeholders: kshell has no public address yet.
func TestNothingIsPublished(t *testing.T) {
	project := load(t)
	if project.Release.Disable != "true" {
		t.Error("release.disable is not true")
	}
	for _, krew := range project.Krews {
		if krew.SkipUpload != "true" || !strings.HasPrefix(krew.URLTemplate, "{{ .Env.DOWNLOAD_URL }}/") {
			t.Errorf("krew: skip_upload %q, address %s", krew.SkipUpload, krew.URLTemplate)
		}
	}
	for _, cask := range project.Casks {
		if cask.SkipUpload != "true" || !strings.HasPrefix(cask.URL.Template, "{{ .Env.DOWNLOAD_URL }}/") {
			t.Errorf("Homebrew: skip_upload %q, address %s", cask.SkipUpload, cask.URL.Template)
		}
	}
	if len(project.Krews) != 1 || len(project.Casks) != 1 {
		t.Errorf("%d manifests for krew, %d for Homebrew", len(project.Krews), len(project.Casks))
	}
	for _, variable := range project.Env {
		if name, value, _ := strings.Cut(variable, "="); !strings.Contains(value, ".invalid") {
			t.Errorf("the default of %s is not a placeholder: %s", name, value)
		}
	}
}

// TestToolsArePinned checks that each tool that is run with "go run" has a
// version.
func TestToolsArePinned(t *testing.T) {
	for _, sbom := range load(t).SBOMs {
		if sbom.Cmd != "go" || len(sbom.Args) < 2 || sbom.Args[0] != "run" ||
			!regexp.MustCompile(`@v\d+\.\d+\.\d+$`).MatchString(sbom.Args[1]) {
			t.Errorf("sbom: %s %v", sbom.Cmd, sbom.Args)
		}
	}
	if !regexp.MustCompile(`(?m)^GORELEASER +:= go run github\.com/goreleaser/goreleaser/v2@v\d+\.\d+\.\d+$`).
		MatchString(read(t, "Makefile")) {
		t.Error("the Makefile does not pin goreleaser")
	}
}
