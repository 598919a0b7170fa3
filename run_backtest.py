"""The command line from a checkout: `python run_backtest.py run` is `clusterfolio run`."""

from clusterfolio.engine.cli.main import main

if __name__ == "__main__":
    main()
