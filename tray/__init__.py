"""The program: command line, tray icon, and the place where all parts meet."""
