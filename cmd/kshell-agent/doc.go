// Kshell-agent is the session agent: it runs in a container, keeps a command running
// while no client is connected, and passes its input and output to clients
// (docs/agent-protocol.md). kshell exec --resume starts it (docs/resume.md).
//
//	kshell-agent -check                         print the version and the build ID
//	kshell-agent -environ [status=TEXT]         print the environment of the parent, encoded
//	kshell-agent start id=ID [OPTION...] -- COMMAND [ARGUMENT...]
//	kshell-agent attach id=ID [dir=DIRECTORY]   connect stdin and stdout to a session
//	kshell-agent list [dir=DIRECTORY]           print an Info frame for each session
//	kshell-agent end id=ID [dir=DIRECTORY]      end a session, and print its Info frame
//
// start runs "serve" in a process with its own session, and is itself the first relay
// between its stdin and stdout and that process. serve runs the command when the first
// client has sent its Hello. Its options:
//
//	dir=DIRECTORY  the directory of the sockets; the default is that of the agent
//	tty=1          the command has a terminal
//	stdin=1        the command without a terminal has an input; otherwise it reads /dev/null
//	env=NAME=VALUE  set or replace a variable of the command; may be repeated
//	workdir=PATH   the working directory of the command
//	buffer=BYTES   the output that is kept
//	idle=SECONDS   the time limit of a session without clients
//	total=SECONDS  the time limit of a session
//	silence=SECONDS  the time limit of a relay on which no frame arrives
//	remove=1       remove the agent and its directory after the last session
//
// The exit code is 0, or 1 after an error, which is on stderr. attach and end exit with
// code 3 if the session does not exist: its socket is missing, or no process accepts
// connections.
//
// Each session has one serving process and one Unix socket, s-ID. Only processes with
// the same user ID can connect. The program uses no network.
//
// While a file use-ID exists, other sessions do not remove the directory. The caller of
// "start" may create the file for a session that is about to start. The serving process
// removes it when the session has its socket, or cannot start.
//
// The environment variable KSHELL_AGENT_ENVIRON, if it is set, has the output of
// -environ: the environment and the ignored signals of the command. A shell that runs
// "start" passes it, because shells change their environment.
package main
