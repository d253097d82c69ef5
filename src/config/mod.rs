//! The whole configuration, checked: command line, environment, YAML file.
