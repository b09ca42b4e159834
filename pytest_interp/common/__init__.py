"""What every room uses and no domain knows: arguments, files, builtin types, progress."""
