using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.Json;

namespace AllocTools.Connections.Directories;

/// <summary>What the peers of a directory say to each other by HTTP.</summary>
/// <remarks>
/// Below the directory's path: <c>PUT {name}/{process}?lease=ms</c> with an entry's JSON; <c>DELETE {name}/{process}?revision=n</c>; <c>GET {name}</c> gives
/// <c>{"entries":[{"left":ms,"entry":{…}}]}</c> with an ETag. A GET with <c>If-None-Match</c> and <c>?wait=ms</c> is answered by 304 after that time, or at once when there is
/// another state.
/// </remarks>
internal static class DirectoryWire
{
    public const string DefaultPath = "/rma-directory";

    /// <summary>The longest that a peer lets a GET wait.</summary>
    public static readonly TimeSpan MostWait = TimeSpan.FromSeconds(60);

    private static readonly JsonDocumentOptions Strict = new() { MaxDepth = 6, AllowDuplicateProperties = false };

    public static string PathOf(string name, Guid process) => $"{name}/{process:N}";

    public static string Milliseconds(TimeSpan time) => ((long)Math.Ceiling(time.TotalMilliseconds)).ToString(CultureInfo.InvariantCulture);

    public static bool TryReadMilliseconds(string? text, TimeSpan most, out TimeSpan time)
    {
        time = default;
        if (!long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long milliseconds) || milliseconds > most.TotalMilliseconds)
            return false;
        time = TimeSpan.FromMilliseconds(milliseconds);
        return true;
    }

    /// <summary>The most bytes that an answer may have.</summary>
    public static long MostAnswer(RmaDirectoryOptions options) => options.MaxEntriesPerName * (options.MaxEntryBytes + 64L) + 64;

    public static void WriteEntries(Utf8JsonWriter json, IEnumerable<(byte[] Encoded, TimeSpan Left)> entries)
    {
        json.WriteStartObject();
        json.WriteStartArray("entries");
        foreach ((byte[] encoded, TimeSpan left) in entries)
        {
            json.WriteStartObject();
            json.WriteNumber("left", (long)Math.Ceiling(left.TotalMilliseconds));
            json.WritePropertyName("entry");
            json.WriteRawValue(encoded, skipInputValidation: true);
            json.WriteEndObject();
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>Reads the answer of a peer, which may be hostile.</summary>
    /// <param name="json">The answer.</param>
    /// <param name="name">The name that was asked for.</param>
    /// <param name="mostEntries">How many entries it may have.</param>
    /// <param name="ignored">Is called with what is wrong with an entry that is left out.</param>
    /// <param name="answer">What was read.</param>
    /// <param name="error">What is wrong with all of it, where false is returned.</param>
    public static bool TryReadEntries(
        ReadOnlyMemory<byte> json, string name, int mostEntries, Action<string> ignored, [NotNullWhen(true)] out DirectoryAnswer? answer, [NotNullWhen(false)] out string? error)
    {
        answer = null;
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, Strict);
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("entries", out JsonElement entries) || entries.ValueKind != JsonValueKind.Array)
            {
                error = "the answer has no list of entries";
                return false;
            }
            if (entries.GetArrayLength() > mostEntries)
            {
                error = $"the answer has {entries.GetArrayLength()} entries; MaxEntriesPerName is {mostEntries}";
                return false;
            }
            List<DirectoryRecord> records = [];
            TimeSpan first = Timeout.InfiniteTimeSpan;
            foreach (JsonElement one in entries.EnumerateArray())
            {
                if (one.ValueKind != JsonValueKind.Object || !one.TryGetProperty("left", out JsonElement left) || left.ValueKind != JsonValueKind.Number || !left.TryGetInt32(out int milliseconds) || milliseconds < 0
                    || !one.TryGetProperty("entry", out JsonElement entry))
                {
                    ignored("it has no time that is left, or no entry");
                    continue;
                }
                if (!DirectoryRecord.TryRead(entry, name, out DirectoryRecord? record, out string? mistake))
                {
                    ignored(mistake);
                    continue;
                }
                records.Add(record);
                var end = TimeSpan.FromMilliseconds(milliseconds);
                if (first == Timeout.InfiniteTimeSpan || end < first)
                    first = end;
            }
            answer = new DirectoryAnswer(records, first);
            error = null;
            return true;
        }
        catch (JsonException e)
        {
            error = $"the answer is no JSON ({e.Message})";
            return false;
        }
    }
}
