package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/notice"
	"kshell/internal/pod"
)

// powershellOrCmd opens the better of Windows's two shells in one connection: cmd, which every Windows image has, looks for the other. (Its
// argument has no quotes: what is put around it, and into it, on the way is cmd's alone to understand.)
var powershellOrCmd = []string{"cmd", "/d", "/c", "where /q powershell 2>nul & if errorlevel 1 (cmd) else (powershell)"}

// shells are the commands to be tried where no script of ours can choose: the one that was named, or every shell that there may be.
func (j *job) shells(ctx context.Context) [][]string {
	if len(j.plan.command) > 0 {
		return [][]string{j.plan.command}
	}
	unix := [][]string{{"bash"}, {"sh"}, {"ash"}, {"/bin/bash"}, {binSh}}
	if j.noSh {
		unix = [][]string{{"bash"}, {"ash"}, {"/bin/bash"}}
	}
	switch os := j.os(); {
	case os == corev1.Windows || os == "" && j.nodeOS(ctx) == corev1.Windows:
		return [][]string{powershellOrCmd}
	case os == "":
		return append(unix, powershellOrCmd)
	default:
		return unix
	}
}

// os is the operating system that the pod says it is for, if it says so and may be looked at.
func (j *job) os() corev1.OSName {
	if j.at.seen == nil {
		return ""
	}
	return pod.OS(j.at.seen.Pod)
}

// lookingAtNode bounds the question to the node: there is something to be tried without the answer, too.
const lookingAtNode = 2 * time.Second

// nodeOS is that of the pod's node, if that can be known. It is asked only where a pod that says nothing has no sh.
func (j *job) nodeOS(ctx context.Context) corev1.OSName {
	if j.at.seen == nil {
		return ""
	}
	client, err := j.podClient(j.beside)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, lookingAtNode)
	defer cancel()
	os, err := client.NodeOS(ctx, j.at.seen.Pod)
	if err != nil {
		j.notice.Detail("which operating system the pod has is not known: %s", err)
	}
	return os
}

// noShell says that there is none, and what would help.
func (j *job) noShell(err error) error {
	none := notice.WithMessage(err, "the container has no shell")
	switch {
	case j.os() == corev1.Windows: // another container cannot look into it
		return notice.WithHint(none, fmt.Sprintf("name a program that it has: %s -it -n %s %s -- PROGRAM", j.plan.path, j.at.namespace, j.at.pod))
	case j.at.container == "":
		return notice.WithHint(none, fmt.Sprintf("kubectl debug -it -n %s %s --image=busybox -- sh", j.at.namespace, j.at.pod))
	}
	return notice.WithHint(none, fmt.Sprintf("kubectl debug -it -n %s %s --image=busybox --target=%s -- sh", j.at.namespace, j.at.pod, j.at.container))
}
