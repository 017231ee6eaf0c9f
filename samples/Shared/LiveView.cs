using Spectre.Console;

namespace Samples;

/// <summary>
/// Shows the pool on the terminal, and updates it each second until the host stops. Each size class has a row, with a
/// bar of the shares of the cap that are rented and idle.
/// </summary>
internal sealed class LiveView(IRmaMemoryPool pool) : BackgroundService
{
    /// <summary>The width of a row without its bar; with the shortest bar, a row fits into 80 columns.</summary>
    private const int OtherWidth = 66, ShortestBar = 12, LongestBar = 48;

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        // Without a terminal, each update is a separate table.
        Console.IsOutputRedirected || !AnsiConsole.Profile.Capabilities.Ansi
            ? RefreshAsync(static look => AnsiConsole.Write(new Rows(look, Text.Empty)), stoppingToken)
            : AnsiConsole.Live(Look()).StartAsync(live => RefreshAsync(live.UpdateTarget, stoppingToken));

    private async Task RefreshAsync(Action<Table> show, CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        using CancellationTokenRegistration stopping = stoppingToken.Register(timer.Dispose);
        do
            show(Look());
        while (await timer.WaitForNextTickAsync(CancellationToken.None));
        show(Look());
    }

    private Table Look()
    {
        int length = Math.Clamp(AnsiConsole.Profile.Width - OtherWidth, ShortestBar, LongestBar);
        RmaPoolStatistics now = pool.GetStatistics();
        Table table = new Table().Border(TableBorder.Rounded)
            .Title($"[bold]{Markup.Escape(pool.Name)}[/]: {Number(now.Registrations)} registrations, {Size(now.RegisteredBytes)} of {Size(now.LimitBytes)} registered")
            .AddColumn(new TableColumn("class").RightAligned().NoWrap()).AddColumn(new TableColumn("[green]rented[/], [yellow]idle[/]").NoWrap());
        foreach (string name in new[] { "rented", "idle", "hits", "misses", "hit ratio" })
            table.AddColumn(new TableColumn(name).RightAligned().NoWrap());
        foreach (RmaSizeClassStatistics row in now.SizeClasses)
            Row(row.Name, row.RentedBytes, row.IdleBytes, row.RentedBuffers, row.IdleBuffers, row.Hits, row.Misses);
        Row("all", now.RentedBytes, now.RegisteredBytes - now.RentedBytes, now.RentedBuffers, now.SizeClasses.Sum(c => c.IdleBuffers), now.Hits, now.Misses);
        return table;

        void Row(string name, long rentedBytes, long idleBytes, long rented, long idle, long hits, long misses)
        {
            int green = Width(rentedBytes), yellow = Math.Min(length - green, Width(idleBytes));
            string bar = $"[green]{new string('█', green)}[/][yellow]{new string('▒', yellow)}[/][grey]{new string('·', length - green - yellow)}[/]";
            string ratio = hits + misses == 0 ? "-" : ((double)hits / (hits + misses)).ToString("P1", InvariantCulture);
            table.AddRow(name, bar, Number(rented), Number(idle), Number(hits), Number(misses), ratio);
        }

        // Anything more than zero is visible, however little it is.
        int Width(long bytes) => bytes <= 0 ? 0 : Math.Clamp((int)Math.Round((double)bytes / now.LimitBytes * length), 1, length);
        static string Size(long bytes) => string.Create(InvariantCulture, $"{bytes / (double)(1 << 20):N1} MiB");
        static string Number(long number) => number.ToString("N0", InvariantCulture);
    }
}
