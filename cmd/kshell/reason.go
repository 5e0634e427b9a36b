package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"kshell/internal/notice"
	"kshell/internal/outcome"
)

const (
	reasonFlag     = "reason"
	reasonVariable = "KSHELL_REASON"
	maxReason      = 200 // characters of the encoded reason
)

// The values of the setting reason.
const (
	reasonRequired = "required"
	reasonOptional = "optional"
)

// userAgent returns the value of the header User-Agent. It contains the reason, if
// there is one.
func userAgent(reason string) string {
	agent := fmt.Sprintf("kshell/%s (%s/%s)", version, runtime.GOOS, runtime.GOARCH)
	if encoded, _ := encodeReason(reason); encoded != "" {
		agent += " reason=\"" + encoded + "\""
	}
	return agent
}

// encodeReason returns the reason for a header: one line, in which each
// character that is not printable ASCII, and each of ", \ and %, is
// percent-encoded as in a URL. cut reports whether the encoded reason was
// longer than maxReason characters and was truncated.
func encodeReason(reason string) (encoded string, cut bool) {
	var b strings.Builder
	for _, r := range oneLine(reason) {
		text := string(r)
		if r < ' ' || r > '~' || strings.ContainsRune("\"\\%", r) {
			text = ""
			for _, c := range []byte(string(r)) {
				text += fmt.Sprintf("%%%02X", c)
			}
		}
		if b.Len()+len(text) > maxReason {
			return b.String(), true
		}
		b.WriteString(text)
	}
	return b.String(), false
}

// oneLine returns text with one space in place of each sequence of spaces and
// line ends.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
}

// recordedReason returns the reason for the annotation of a pod.
func (a *app) recordedReason() string {
	reason := []rune(notice.Clean(oneLine(a.reason)))
	return string(reason[:min(len(reason), maxReason)])
}

// requireReason asks the user for the reason if the setting reason requires one,
// and none is given. Without a terminal, it returns a usage error. It warns if
// the reason is too long.
func (a *app) requireReason(ctx context.Context) error {
	required, err := a.settings.Reason.OneOf(reasonOptional, reasonRequired)
	if err != nil {
		return err
	}
	if required == reasonRequired && oneLine(a.reason) == "" {
		if err := a.askReason(ctx); err != nil {
			return err
		}
	}
	if encoded, cut := encodeReason(a.reason); cut {
		a.notice.Warn("the reason is too long for the audit log, which contains only its beginning: %s", encoded)
	}
	return nil
}

// askReason asks the user for the reason.
func (a *app) askReason(ctx context.Context) error {
	missing := outcome.NewUsageError(
		fmt.Sprintf("a reason is required (setting %s from %s)", a.settings.Reason.Key, a.settings.Reason.Source),
		fmt.Sprintf("--%s TEXT, or the variable %s", reasonFlag, reasonVariable))
	d, err := a.openDialog()
	if err != nil {
		return missing
	}
	defer d.close()
	answer, err := d.ask(ctx, "reason for the audit log:")
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if a.reason = oneLine(answer); a.reason == "" {
		return missing
	}
	return nil
}
