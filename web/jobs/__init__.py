"""Work in the background: commands of saebench, one at a time, each in a folder of the workspace."""
