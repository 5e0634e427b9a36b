// Package settings reads the user's settings from a YAML file and from KSHELL_*
// environment variables.
//
// It does not know flags, Kubernetes, or the path of the file. It does not
// check the values of settings.
//
// Invariants:
//   - Precedence, highest first: an environment variable, the part of the file
//     for the current context, the rest of the file, the default.
//   - An unknown key in the file is an error, because otherwise a mistyped key
//     would have no effect and cause no message.
package settings

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// The keys in the file. An environment variable exists for each key except
// keyReason: see the function variable.
const (
	keyNamespace  = "namespace"
	keyShell      = "shell"
	keyEscapeChar = "escape-char"
	keyKeepalive  = "keepalive"
	keyIdle       = "idle-keepalive"
	keyHTTP       = "http-credentials"
	keyNodeImage  = "node-image"
	keyHeadlamp   = "headlamp"
	keyCluster    = "headlamp-cluster"
	keyStateless  = "headlamp-stateless"
	keyResume     = "resume"
	keyResumeDir  = "resume-dir"
	keyGuard      = "guard"
	keyReason     = "reason"
	keyIdleEnd    = "idle-timeout"
	keyRecord     = "record-notice"
)

// keys lists all keys, in the order of Settings.All.
var keys = []string{
	keyNamespace, keyShell, keyEscapeChar, keyKeepalive, keyIdle, keyHTTP, keyNodeImage,
	keyHeadlamp, keyCluster, keyStateless, keyResume, keyResumeDir, keyGuard, keyReason, keyIdleEnd, keyRecord,
}

// Settings holds the effective settings for one context of the kubeconfig. An
// empty Text means that the setting is not set and that its default applies.
type Settings struct {
	Namespace  Value // the namespace; default: that of the context
	Shell      Value // the command of exec if none is given; default: bash, sh or ash
	EscapeChar Value // see --escape-char; default: that of the flag
	Keepalive  Value // see --keepalive, a Go duration; default: that of the flag
	Idle       Value // idle-keepalive: "false" means --no-idle-keepalive; default: "true"
	HTTP       Value // see --http-credentials; default: that of the flag
	NodeImage  Value // see --image of node-shell; default: that of the flag
	Headlamp   Value // see --headlamp; default: no Headlamp server
	Cluster    Value // see --headlamp-cluster; default: that of the flag
	Stateless  Value // see --headlamp-stateless; default: that of the flag
	Resume     Value // see --resume; default: that of the flag
	ResumeDir  Value // see --resume-dir; default: that of the flag
	Guard      Value // "ask" or "never", the default; see --confirm-context
	// Reason is "required" or "optional", the default. It is read only from the
	// file: the variable KSHELL_REASON contains the reason itself.
	Reason      Value
	IdleTimeout Value // see --idle-timeout, a Go duration; default: that of the flag
	// Record is "true", "false", the default, or the text of a notice. It selects the
	// notice that is printed before each session on a terminal.
	Record Value
}

// All returns the settings in the order in which they are listed to users.
func (s *Settings) All() []Value {
	return []Value{
		s.Namespace, s.Shell, s.EscapeChar, s.Keepalive, s.Idle, s.HTTP, s.NodeImage,
		s.Headlamp, s.Cluster, s.Stateless, s.Resume, s.ResumeDir, s.Guard, s.Reason, s.IdleTimeout, s.Record,
	}
}

// Value is the value of one setting.
type Value struct {
	Key    string // in the file: "escape-char"
	Text   string // "" if the setting is not set
	Source string // for users: the variable or the file that sets it, or "default"
	// OfContext reports whether Text comes from the part of the file for the
	// context.
	OfContext bool
}

// OneOf returns the text of a setting whose possible values are standard and others.
// If the setting is not set, OneOf returns standard. It returns an error if the text
// is any other value.
func (v Value) OneOf(standard string, others ...string) (string, error) {
	switch {
	case v.Text == "":
		return standard, nil
	case v.Text == standard || slices.Contains(others, v.Text):
		return v.Text, nil
	}
	return "", fmt.Errorf("setting %s from %s is not one of %s: %s",
		v.Key, v.Source, strings.Join(slices.Concat(others, []string{standard}), ", "), strconv.Quote(v.Text))
}

// maxFile is the size of the largest file that Load reads, in bytes.
const maxFile = 1 << 20

// section holds settings by key.
type section map[string]string

// File holds the contents of a settings file. The nil *File is an empty one.
type File struct {
	path     string
	writers  string // see OtherWriters
	general  section
	contexts map[string]section
}

// OtherWriters returns a text for users if users other than root and the
// current user can change the file, or replace it in one of its directories.
// The text states who can write, and how to prevent that: "every user can write
// to PATH (chmod go-w PATH)". OtherWriters returns "" if there are no such
// users, and on Windows.
func (f *File) OtherWriters() string {
	if f == nil {
		return ""
	}
	return f.writers
}

// Path returns the path of the file, or "" for the nil *File.
func (f *File) Path() string {
	if f == nil {
		return ""
	}
	return f.path
}

// OtherWriters returns the text of File.OtherWriters for any file. It returns ""
// if the file does not exist.
func OtherWriters(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return otherWriters(path, info)
}

// Load reads the file at path. Errors are *FileError for invalid contents, and
// those of opening and reading the file, such as fs.ErrNotExist.
func Load(path string) (*File, error) {
	raw, writers, err := read(path)
	if err != nil {
		return nil, err
	}
	f, err := parse(path, raw)
	if err != nil {
		return nil, err
	}
	f.writers = writers
	return f, nil
}

// read returns the contents of the file, and its writers; see OtherWriters.
func read(path string) (raw []byte, writers string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = file.Close() }() // the file was only read
	raw, err = io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, "", err
	}
	if len(raw) > maxFile {
		return nil, "", &FileError{path, "the file is larger than 1 MiB"}
	}
	info, err := file.Stat()
	if err != nil {
		return nil, "", err
	}
	return raw, otherWriters(path, info), nil
}

// FileError means that the contents of the file are invalid.
type FileError struct{ Path, Reason string }

// Error returns the path and what is wrong.
func (e *FileError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Reason) }

// Hint lists the valid keys.
func (e *FileError) Hint() string {
	return "the keys are " + strings.Join(keys, ", ") + "; settings for one context go under contexts: NAME:"
}

func parse(path string, raw []byte) (*File, error) {
	var document map[string]any
	if err := yaml.UnmarshalStrict(raw, &document); err != nil {
		return nil, &FileError{path, "the file is not a YAML mapping of keys to values: " + firstLine(err)}
	}
	contexts, ok := document["contexts"].(map[string]any)
	if document["contexts"] != nil && !ok {
		return nil, &FileError{path, `"contexts" is not a mapping of context names to settings`}
	}
	delete(document, "contexts")
	general, err := parseSection(path, "", document)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, general: general, contexts: map[string]section{}}
	for name, value := range contexts {
		fields, ok := value.(map[string]any)
		if value != nil && !ok {
			return nil, &FileError{path, fmt.Sprintf("context %q is not a mapping of keys to values", name)}
		}
		if f.contexts[name], err = parseSection(path, fmt.Sprintf(" of context %q", name), fields); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// parseSection checks the keys and values of a mapping. The parameter of says
// in errors which mapping it is: "" for the general one, or " of context NAME".
func parseSection(path, of string, fields map[string]any) (section, error) {
	s := section{}
	for key, value := range fields {
		text, ok := value.(string)
		if on, isBool := value.(bool); isBool && (key == keyIdle || key == keyRecord) {
			text, ok = strconv.FormatBool(on), true
		}
		switch {
		case !slices.Contains(keys, key):
			return nil, &FileError{path, fmt.Sprintf("unknown setting %q%s", key, of)}
		case !ok:
			return nil, &FileError{path, fmt.Sprintf("the value of setting %q%s is not a string", key, of)}
		}
		s[key] = text
	}
	return s, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Settings returns the effective settings for a context. lookupEnv is
// os.LookupEnv, or replaces it in tests. An empty variable counts as not set.
func (f *File) Settings(context string, lookupEnv func(name string) (string, bool)) Settings {
	get := func(key string) Value {
		if text, ok := lookupEnv(variable(key)); ok && text != "" && key != keyReason {
			return Value{Key: key, Text: text, Source: "variable " + variable(key)}
		}
		if f == nil {
			return Value{Key: key, Source: "default"}
		}
		if text := f.contexts[context][key]; text != "" {
			source := fmt.Sprintf("%s, context %s", f.path, context)
			return Value{Key: key, Text: text, Source: source, OfContext: true}
		}
		if text := f.general[key]; text != "" {
			return Value{Key: key, Text: text, Source: f.path}
		}
		return Value{Key: key, Source: "default"}
	}
	return Settings{
		Namespace:  get(keyNamespace),
		Shell:      get(keyShell),
		EscapeChar: get(keyEscapeChar),
		Keepalive:  get(keyKeepalive),
		Idle:       get(keyIdle),
		HTTP:       get(keyHTTP),
		NodeImage:  get(keyNodeImage),
		Headlamp:   get(keyHeadlamp),
		Cluster:    get(keyCluster),
		Stateless:  get(keyStateless),
		Resume:     get(keyResume),
		ResumeDir:  get(keyResumeDir),
		Guard:      get(keyGuard),
		Reason:     get(keyReason),

		IdleTimeout: get(keyIdleEnd),
		Record:      get(keyRecord),
	}
}

// variable returns the environment variable for a key: KSHELL_ESCAPE_CHAR for
// escape-char.
func variable(key string) string {
	return "KSHELL_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}
