using AllocTools;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace WorkerService.Observing;

/// <summary>Shows the pools on the terminal, again each second until the host stops.</summary>
internal sealed class LiveView(IReadOnlyList<IRmaMemoryPool> pools, TimeProvider time) : BackgroundService
{
    private static readonly TimeSpan Period = TimeSpan.FromSeconds(1);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // Where this is no terminal each look is a table of its own.
        if (Console.IsOutputRedirected || !AnsiConsole.Profile.Capabilities.Ansi)
            await RefreshAsync(PrintBelow, stoppingToken);
        else
            await AnsiConsole.Live(Look()).StartAsync(live => RefreshAsync(live.UpdateTarget, stoppingToken));
    }

    private async Task RefreshAsync(Action<IRenderable> show, CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Period, time);
        try
        {
            do
                show(Look());
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            show(Look());
        }
    }

    private static void PrintBelow(IRenderable look)
    {
        AnsiConsole.Write(look);
        AnsiConsole.WriteLine();
    }

    private IRenderable Look() => PoolTable.Of(pools, AnsiConsole.Profile.Width);
}
