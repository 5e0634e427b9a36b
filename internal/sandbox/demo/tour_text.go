package main

import "strings"

// The texts of the tour, in the order of its steps.
const (
	introOfTour = "This tour of kshell takes a minute. kshell opens shells and runs commands in the pods and on the " +
		"nodes of Kubernetes.\n" +
		"Here, the pods are processes on this machine. No cluster is needed. Lines that begin with # are the text of " +
		"the tour, and the tour types the commands. Everything else is the output of kshell.\n" +
		"Enter: go on. Ctrl-C: leave the tour."

	oneShot = "1. Run one command in pod web. Its output and its exit code are those of the command."

	fanOut = "2. Run a command in all pods of deployment web, at the same time."

	openShell = "3. Open a shell in pod web, and set a variable in it. With --resume, the shell continues after a " +
		"lost connection."

	plainShell = "3. Open a shell in pod web, and set a variable in it. (On Linux, the tour also shows how a shell " +
		"continues after a lost connection, with --resume.)"

	plug = "4. Count in the shell, and pull the plug: the API server resets the connection and cannot be reached for " +
		"some seconds. kshell shows that in a status line, and tries to connect again. In the shell, nothing is lost: " +
		"no number is missing, and the variable is still set."

	listKeys = "5. At the beginning of a line, ~ and another key are for kshell. ~? lists these keys."

	leave = "6. ~. leaves kshell. This works even if the connection or the program in the shell hangs."

	theEnd = "This is the end of the tour. To try kshell yourself: make demo. To use it with a cluster: " +
		"kshell exec POD, kshell node-shell NODE, kshell --help."
)

// lines returns the lines of a text.
func lines(text string) []string { return strings.Split(strings.TrimRight(text, "\n"), "\n") }
