//go:build unix

package main

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/picker"
	"kshell/internal/pod"
)

// Text from the server cannot control the terminal.
func TestMenus_UntrustedText(t *testing.T) {
	evil := &corev1.Pod{Status: corev1.PodStatus{Phase: hostile}}
	evil.Name = "a" + hostile
	other := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: hostile}, {Name: "b"}}}}
	other.Name = "other"
	pods, podList := podMenu("default", []pod.Found{{Pod: other}}, []pod.Skipped{{Pod: evil}}, time.Now())
	if len(pods) != 2 || pods[0] != other {
		t.Fatalf("pods %v", pods)
	}
	_, containerList := containerMenu(other)
	for _, list := range []picker.List{podList, containerList} {
		for _, row := range list.Rows {
			for _, cell := range row {
				if strings.ContainsAny(cell, "\x1b\a\n\r\x00\u202e\u009b") {
					t.Errorf("cell %q", cell)
				}
			}
		}
	}
}
