"""Pages of HTML that show a result, or all results of a job. They open without a network."""
