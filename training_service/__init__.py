"""The training service: tables in, jobs one at a time, models activated and rolled back, for one who has the token."""
