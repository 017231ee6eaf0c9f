using System.Globalization;
using Microsoft.Extensions.Logging;

namespace AllocTools.Connections.Directories;

/// <summary>All log messages of directories, with stable event ids from 120 on. They never contain an address, a key or a peer.</summary>
internal static partial class DirectoryLog
{
    public const string Category = "AllocTools.Connections.Directory";

    [LoggerMessage(120, LogLevel.Warning, "Entries in the directory could not be renewed, and will disappear when their leases expire: {Reason} Renewal is tried again. This is logged once until it succeeds.")]
    public static partial void RenewalFailed(ILogger logger, string reason);

    [LoggerMessage(121, LogLevel.Information, "Entries of the directory are renewed again.")]
    public static partial void Renewed(ILogger logger);

    [LoggerMessage(122, LogLevel.Warning, "An entry could not be removed from the directory, and will disappear when its lease expires: {Reason}")]
    public static partial void RemovalFailed(ILogger logger, string reason);

    [LoggerMessage(123, LogLevel.Warning, "A watch can't read the directory; it keeps the last known entries and tries again: {Reason} This is logged once until it succeeds.")]
    public static partial void WatchFailed(ILogger logger, string reason);

    [LoggerMessage(124, LogLevel.Information, "The directory can be read again.")]
    public static partial void WatchResumed(ILogger logger);

    [LoggerMessage(125, LogLevel.Warning, "{Count} of the entries that the directory returned for a name are ignored because they are invalid. The first: {Mistake}. This is logged once until all entries are valid.")]
    public static partial void EntriesIgnored(ILogger logger, int count, string mistake);

    [LoggerMessage(126, LogLevel.Warning, "{Failed} of {Peers} peers of the directory do not answer, or their answers are invalid; the others are used. The first: {Reason} This is logged once until all answer.")]
    public static partial void PeersFailed(ILogger logger, int failed, int peers, string reason);

    [LoggerMessage(127, LogLevel.Information, "All {Peers} peers of the directory answer again.")]
    public static partial void PeersAnswer(ILogger logger, int peers);

    [LoggerMessage(128, LogLevel.Warning, "This peer of the directory refused an entry: {Reason} {Others} earlier refusals were not logged; at most one is logged each minute.")]
    public static partial void EntryRefused(ILogger logger, string reason, long others);

    [LoggerMessage(129, LogLevel.Warning, "The directory can't be reached at startup: {Reason} It will be tried again at each use.")]
    public static partial void StartFailed(ILogger logger, string reason);

    /// <summary>Foreign text without characters that a terminal or a reader of a log could misinterpret.</summary>
    public static string Printable(string text) => string.Concat(text.Where(static c => CharUnicodeInfo.GetUnicodeCategory(c) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Surrogate)));
}
