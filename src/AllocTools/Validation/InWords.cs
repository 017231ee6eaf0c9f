using System.Globalization;

namespace AllocTools.Validation;

/// <summary>Formats sizes and times for people.</summary>
internal static class InWords
{
    private static readonly string[] Units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

    /// <summary>Formats a size for people and for programs, such as <c>64 MiB (67,108,864 bytes)</c>, <c>512 bytes</c>, <c>1 byte</c>.</summary>
    public static string Size(long bytes) => Math.Abs(bytes) < 1024 ? Count(bytes, "byte", "bytes") : $"{About(bytes)} ({Number(bytes)} bytes)";

    /// <summary>Formats a number with a noun, such as <c>1 buffer</c>, <c>1,024 buffers</c>.</summary>
    public static string Count(long number, string one, string many) => $"{Number(number)} {(number == 1 ? one : many)}";

    /// <summary>Formats a size in the largest unit of which it is a whole number, such as <c>64 KiB</c>, or else in bytes.</summary>
    public static string Bytes(Int128 bytes)
    {
        int unit = -1;
        for (; bytes != 0 && bytes % 1024 == 0 && unit < Units.Length - 1; unit++)
            bytes /= 1024;
        return unit < 0 ? Count((long)bytes, "byte", "bytes") : $"{Number((long)bytes)} {Units[unit]}";
    }

    /// <summary>Formats a size rounded to one decimal place of the largest unit, such as <c>23.4 GiB</c>, for measured values.</summary>
    public static string About(long bytes)
    {
        double amount = bytes;
        int unit = -1;
        for (; amount >= 1024 && unit < Units.Length - 1; unit++)
            amount /= 1024;
        return unit < 0 ? Count(bytes, "byte", "bytes") : string.Create(CultureInfo.InvariantCulture, $"{amount:#,0.#} {Units[unit]}");
    }

    /// <summary>Formats a number with commas between thousands.</summary>
    public static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>
    /// Formats a time in the largest unit of which it is a whole number; <c>never</c> for <see cref="Timeout.InfiniteTimeSpan"/>.
    /// </summary>
    public static string Time(TimeSpan time)
    {
        if (time == Timeout.InfiniteTimeSpan)
            return "never";
        (long ticks, string unit) = time.Ticks switch
        {
            0 => (1, ""),
            var t when t % TimeSpan.TicksPerHour == 0 => (TimeSpan.TicksPerHour, " hours"),
            var t when t % TimeSpan.TicksPerMinute == 0 => (TimeSpan.TicksPerMinute, " minutes"),
            var t when t % TimeSpan.TicksPerSecond == 0 => (TimeSpan.TicksPerSecond, " seconds"),
            var t when t % TimeSpan.TicksPerMillisecond == 0 => (TimeSpan.TicksPerMillisecond, " ms"),
            _ => (TimeSpan.TicksPerMicrosecond, " µs"),
        };
        long amount = time.Ticks / ticks;
        bool isSingular = amount is 1 or -1 && unit.Length > 3;
        return isSingular ? $"{amount}{unit[..^1]}" : $"{Number(amount)}{unit}";
    }
}
