using System.Globalization;

namespace AllocTools.Hosting.Configuration;

/// <summary>Reads a time in the form in which people write it.</summary>
internal static class TimeText
{
    /// <summary>A description of the valid texts, for errors.</summary>
    public const string Format = "a time such as \"00:00:30\", \"30s\", \"500ms\", \"5min\" or \"2h\", or \"never\"";

    private static readonly (string Name, long Ticks)[] Units =
    [
        ("us", TimeSpan.TicksPerMicrosecond), ("µs", TimeSpan.TicksPerMicrosecond), ("ms", TimeSpan.TicksPerMillisecond), ("s", TimeSpan.TicksPerSecond),
        ("min", TimeSpan.TicksPerMinute), ("m", TimeSpan.TicksPerMinute), ("h", TimeSpan.TicksPerHour), ("d", TimeSpan.TicksPerDay),
    ];

    /// <summary>
    /// Reads <c>hh:mm:ss.fff</c>, a number with a unit, or <c>never</c>, which is <see cref="Timeout.InfiniteTimeSpan"/>.
    /// A number without a unit is not accepted, except for 0: the framework would read it as days, which is never intended.
    /// </summary>
    public static bool TryParse(string text, out TimeSpan time)
    {
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        if (rest.Contains(':'))
            return TimeSpan.TryParse(rest, CultureInfo.InvariantCulture, out time);
        time = TimeSpan.Zero;
        if (rest is "0")
            return true;
        time = Timeout.InfiniteTimeSpan;
        if (rest.Equals("never", StringComparison.OrdinalIgnoreCase) || rest.Equals("infinite", StringComparison.OrdinalIgnoreCase))
            return true;
        foreach ((string name, long ticks) in Units)
        {
            if (rest.EndsWith(name, StringComparison.OrdinalIgnoreCase))
                return TryMultiply(rest[..^name.Length], ticks, out time);
        }
        return false;
    }

    /// <summary>Returns the valid spelling that may have been meant; null if it can't be guessed.</summary>
    /// <param name="text">The text found.</param>
    /// <param name="most">The longest valid time.</param>
    /// <param name="hasNever">Whether "never" is valid, too.</param>
    public static string? Suggest(string text, TimeSpan most, bool hasNever)
    {
        if (text.Trim() is "-1" or "none" or "unlimited" or "no limit" or "forever")
            return hasNever ? "\"never\"" : null;
        return TryMultiply(text, TimeSpan.TicksPerSecond, out TimeSpan time) && time <= most ? $"\"{text.Trim()}s\"" : null;
    }

    private static bool TryMultiply(ReadOnlySpan<char> number, long ticks, out TimeSpan time)
    {
        bool isOne = decimal.TryParse(number.Trim(), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal amount)
            && amount <= (decimal)long.MaxValue / ticks;
        time = isOne ? new TimeSpan((long)(amount * ticks)) : TimeSpan.Zero;
        return isOne;
    }
}
