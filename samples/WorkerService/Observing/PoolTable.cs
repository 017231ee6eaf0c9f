using System.Globalization;
using AllocTools;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace WorkerService.Observing;

/// <summary>The books of pools as tables: one row a size class, with a bar of what of the cap is rented and idle.</summary>
internal static class PoolTable
{
    /// <summary>What a row takes beside the bar; with the shortest bar it goes into 80 columns.</summary>
    private const int OtherWidth = 66;
    private const int ShortestBar = 12;
    private const int LongestBar = 48;

    public static IRenderable Of(IReadOnlyList<IRmaMemoryPool> pools, int width) => new Rows(pools.Select(p => Of(p, width)));

    private static Table Of(IRmaMemoryPool pool, int width)
    {
        int bar = Math.Clamp(width - OtherWidth, ShortestBar, LongestBar);
        RmaPoolStatistics now = pool.GetStatistics();
        Table table = new Table().Border(TableBorder.Rounded)
            .Title($"[bold]{Markup.Escape(pool.Name)}[/]: {Number(now.Registrations)} registrations, {Size(now.RegisteredBytes)} of {Size(now.LimitBytes)} registered")
            .AddColumn(new TableColumn("class").RightAligned().NoWrap())
            .AddColumn(new TableColumn("[green]rented[/], [yellow]idle[/]").NoWrap());
        foreach (string name in new[] { "rented", "idle", "hits", "misses", "hit ratio" })
            table.AddColumn(new TableColumn(name).RightAligned().NoWrap());
        foreach (RmaSizeClassStatistics row in now.SizeClasses)
            table.AddRow(Row(row.Name, Bar(bar, now.LimitBytes, row.RentedBytes, row.IdleBytes), row.RentedBuffers, row.IdleBuffers, row.Hits, row.Misses));
        return table.AddRow(Row(
            "all",
            Bar(bar, now.LimitBytes, now.RentedBytes, now.RegisteredBytes - now.RentedBytes),
            now.RentedBuffers,
            now.SizeClasses.Sum(c => c.IdleBuffers),
            now.Hits,
            now.Misses));
    }

    private static string[] Row(string sizeClass, string bar, long rented, long idle, long hits, long misses) =>
    [
        sizeClass,
        bar,
        Number(rented),
        Number(idle),
        Number(hits),
        Number(misses),
        hits + misses == 0 ? "-" : ((double)hits / (hits + misses)).ToString("P1", CultureInfo.InvariantCulture),
    ];

    private static string Bar(int length, long cap, long rentedBytes, long idleBytes)
    {
        int rented = Width(rentedBytes);
        int idle = Math.Min(length - rented, Width(idleBytes));
        return $"[green]{new string('█', rented)}[/][yellow]{new string('▒', idle)}[/][grey]{new string('·', length - rented - idle)}[/]";

        // What is there is seen, however little it is.
        int Width(long bytes) => bytes <= 0 ? 0 : Math.Clamp((int)Math.Round((double)bytes / cap * length), 1, length);
    }

    private static string Size(long bytes) => $"{(bytes / (double)(1 << 20)).ToString("N1", CultureInfo.InvariantCulture)} MiB";

    private static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);
}
