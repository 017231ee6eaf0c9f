using System.Globalization;
using Microsoft.Extensions.Logging;

namespace AllocTools.Connections.Directories;

/// <summary>Every message of directories, with stable event ids from 120 on. Never an address, a key or a peer.</summary>
internal static partial class DirectoryLog
{
    public const string Category = "AllocTools.Connections.Directory";

    [LoggerMessage(120, LogLevel.Warning, "Entries of the directory are not renewed, and vanish with their leases: {Reason} It is tried again. This is said once until it succeeds.")]
    public static partial void RenewalFailed(ILogger logger, string reason);

    [LoggerMessage(121, LogLevel.Information, "Entries of the directory are renewed again.")]
    public static partial void Renewed(ILogger logger);

    [LoggerMessage(122, LogLevel.Warning, "An entry was not taken out of the directory, and vanishes with its lease: {Reason}")]
    public static partial void RemovalFailed(ILogger logger, string reason);

    [LoggerMessage(123, LogLevel.Warning, "The directory can't be read by a watch, which goes on with what it knows and tries again: {Reason} This is said once until it succeeds.")]
    public static partial void WatchFailed(ILogger logger, string reason);

    [LoggerMessage(124, LogLevel.Information, "The directory can be read again.")]
    public static partial void WatchResumed(ILogger logger);

    [LoggerMessage(125, LogLevel.Warning, "{Count} of the entries that the directory gave by a name are left out, because they are not valid. The first: {Mistake}. This is said once until all are.")]
    public static partial void EntriesIgnored(ILogger logger, int count, string mistake);

    [LoggerMessage(126, LogLevel.Warning, "{Failed} of {Peers} peers of the directory do not answer, or not as they must; the others are used. The first: {Reason} This is said once until all answer.")]
    public static partial void PeersFailed(ILogger logger, int failed, int peers, string reason);

    [LoggerMessage(127, LogLevel.Information, "All {Peers} peers of the directory answer again.")]
    public static partial void PeersAnswer(ILogger logger, int peers);

    [LoggerMessage(128, LogLevel.Warning, "This peer of the directory has refused an entry: {Reason} Before it, {Others} were refused that were not logged; one is each minute.")]
    public static partial void EntryRefused(ILogger logger, string reason, long others);

    [LoggerMessage(129, LogLevel.Warning, "The directory can't be reached at the start: {Reason} It is tried again whenever it is used.")]
    public static partial void StartFailed(ILogger logger, string reason);

    /// <summary>Text of others without what a terminal, or who reads a log, would take for something else.</summary>
    public static string Printable(string text) => string.Concat(text.Where(static c => CharUnicodeInfo.GetUnicodeCategory(c) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Surrogate)));
}
