"""CI/CD: GitHub Actions, GitLab CI, and a mock."""
