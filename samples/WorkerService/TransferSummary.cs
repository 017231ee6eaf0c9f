using System.Diagnostics;
using System.Text;

namespace WorkerService;

/// <summary>The results of one side; times are in seconds, and the pool's counts are those since the process began.</summary>
internal sealed record TransferSummary(
    string Role, string Provider, FileState File, string? SavedAs, long Start, double Seconds, string Sha256,
    long Rents, long Hits, long Misses, long Registrations, long RegistrationsAfterWarmUp, long RegisteredBytes)
{
    private double MegabytesPerSecond => Seconds > 0 ? (File.Length - Start) / Seconds / 1e6 : 0;

    /// <summary>Formats the results as text, with a column for each side.</summary>
    public static string ToText(params TransferSummary[] sides)
    {
        TransferSummary any = sides[0];
        var text = new StringBuilder();
        text.Append(InvariantCulture, $"{any.File.Name}: {any.File.Length:N0} bytes in {any.Seconds:0.000} s over {any.Provider}, {any.MegabytesPerSecond:N0} MB/s\n");
        if (any.Start > 0)
            text.Append(InvariantCulture, $"resumed at {any.Start:N0} bytes\n");
        text.Append($"SHA-256 {any.Sha256}, the same on both sides\nkept as {sides[^1].SavedAs}\n");
        Row("", s => s.Role);
        Row("MB/s", s => s.MegabytesPerSecond.ToString("N0", InvariantCulture));
        Row("rents", s => s.Rents.ToString("N0", InvariantCulture));
        Row("hits", s => s.Hits.ToString("N0", InvariantCulture));
        Row("misses", s => s.Misses.ToString("N0", InvariantCulture));
        Row("registrations made", s => s.Registrations.ToString("N0", InvariantCulture));
        Row("registrations made after warm-up", s => s.RegistrationsAfterWarmUp.ToString("N0", InvariantCulture));
        Row("registrations saved", s => Math.Max(0, s.Rents - s.Registrations).ToString("N0", InvariantCulture));
        Row("bytes registered", s => s.RegisteredBytes.ToString("N0", InvariantCulture));
        return text.ToString();

        void Row(string label, Func<TransferSummary, string> value) => text.Append(label.PadRight(34)).AppendJoin("", sides.Select(s => value(s).PadLeft(12))).Append('\n');
    }

    /// <summary>
    /// Counts the pool's work from now on. The connection exists by then, with its own registration if the transport
    /// enforces access.
    /// </summary>
    public sealed class Counter(IRmaMemoryPool pool)
    {
        private readonly long _warm = pool.GetStatistics().Registrations, _started = Stopwatch.GetTimestamp();

        public TransferSummary Summarize(string role, FileState file, long start, byte[] hash, string? savedAs)
        {
            RmaPoolStatistics now = pool.GetStatistics();
            return new TransferSummary(
                role, pool.Context.Traits.ProviderName, file, savedAs, start, Stopwatch.GetElapsedTime(_started).TotalSeconds, Convert.ToHexStringLower(hash),
                now.Rents, now.Hits, now.Misses, now.Registrations, now.Registrations - _warm, now.RegisteredBytes);
        }
    }
}
