"""The execution sandbox (§7.2): a program or a function in a child process, under limits, gone with its whole tree."""
