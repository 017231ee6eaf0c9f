using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;

namespace AllocTools.Connections.Directories;

/// <summary>The HTTP protocol between the peers of a directory.</summary>
/// <remarks>
/// Below the directory's path: <c>PUT {name}/{process}?lease=ms</c> with an entry's JSON; <c>DELETE
/// {name}/{process}?revision=n</c>; <c>GET {name}</c>, which returns <c>{"entries":[{"left":ms,"entry":{…}}]}</c> with
/// an ETag. A GET with <c>If-None-Match</c> and <c>?wait=ms</c> is answered by 304 after that time, or immediately
/// when the state differs. A PUT of an older revision is answered by 409.
/// </remarks>
internal static class DirectoryWire
{
    public const string DefaultPath = "/rma-directory";

    /// <summary>The longest time that a peer lets a GET wait.</summary>
    public static readonly TimeSpan MostWait = TimeSpan.FromSeconds(60);

    private const int MostReason = 512;

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

    /// <summary>
    /// The most bytes in the answer of one of several peers: no more than its entries may have, and no more than
    /// MaxBytes for all answers together.
    /// </summary>
    public static long MostAnswer(RmaDirectoryOptions options, int peers) => Math.Min(options.MaxEntriesPerName * (options.MaxEntryBytes + 64L) + 64, options.MaxBytes / peers);

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
    /// <param name="name">The requested name.</param>
    /// <param name="mostEntries">The most entries that it may have.</param>
    /// <param name="answer">The result.</param>
    /// <param name="error">The error of the whole answer, if false is returned.</param>
    public static bool TryReadEntries(
        ReadOnlyMemory<byte> json, string name, int mostEntries, [NotNullWhen(true)] out DirectoryAnswer? answer, [NotNullWhen(false)] out string? error)
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
                error = $"the answer has {entries.GetArrayLength()} entries; it must have at most {mostEntries} (MaxEntriesPerName)";
                return false;
            }
            List<DirectoryRecord> records = [];
            List<string> mistakes = [];
            TimeSpan first = Timeout.InfiniteTimeSpan;
            foreach (JsonElement one in entries.EnumerateArray())
            {
                if (!TryReadLeft(one, out int milliseconds, out JsonElement entry))
                {
                    mistakes.Add("its remaining time or its entry is missing");
                    continue;
                }
                if (!DirectoryRecord.TryRead(entry, name, out DirectoryRecord? record, out string? mistake))
                {
                    mistakes.Add(mistake);
                    continue;
                }
                records.Add(record);
                var end = TimeSpan.FromMilliseconds(milliseconds);
                if (first == Timeout.InfiniteTimeSpan || end < first)
                    first = end;
            }
            answer = new DirectoryAnswer(records, first, Mistakes: mistakes);
            error = null;
            return true;
        }
        catch (JsonException e)
        {
            error = $"the answer is not JSON{DirectoryRecord.PlaceOf(e)}";
            return false;
        }
        catch (InvalidOperationException)
        {
            error = "the answer contains text that is not valid Unicode";
            return false;
        }
    }

    /// <returns>The body; null if it is longer.</returns>
    public static async Task<byte[]?> ReadBodyAsync(HttpResponseMessage response, long most, CancellationToken cancellationToken)
    {
        if (response.Content.Headers.ContentLength > most)
            return null;
        Stream stream = await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
        await using (stream.ConfigureAwait(false))
        {
            using var body = new MemoryStream();
            byte[] piece = new byte[4096];
            while (await stream.ReadAsync(piece, cancellationToken).ConfigureAwait(false) is > 0 and var length)
            {
                body.Write(piece, 0, length);
                if (body.Length > most)
                    return null;
            }
            return body.ToArray();
        }
    }

    /// <summary>The peer's reason for a refusal, shortened, and without terminal control characters.</summary>
    public static async Task<string> ReadReasonAsync(HttpResponseMessage response, CancellationToken cancellationToken)
    {
        if (response.Content.Headers.ContentType?.MediaType != "text/plain" || await ReadBodyAsync(response, MostReason, cancellationToken).ConfigureAwait(false) is not { Length: > 0 } reason)
            return response.StatusCode == HttpStatusCode.NotFound ? ". Check that it calls MapRmaDirectory with this path." : ".";
        return $": {Printable(Encoding.UTF8.GetString(reason))}.";
    }

    /// <summary>Describes the failure, without the address in the exception's own message.</summary>
    public static string Describe(HttpRequestException error) => error.InnerException switch
    {
        System.Net.Sockets.SocketException socket => $"connecting failed with {socket.SocketErrorCode}",
        System.Security.Authentication.AuthenticationException tls => $"its TLS or certificate was rejected ({tls.Message})",
        _ => $"the request failed with {error.HttpRequestError}",
    };

    private static bool TryReadLeft(JsonElement json, out int milliseconds, out JsonElement entry)
    {
        (milliseconds, entry) = (0, default);
        try
        {
            return json.ValueKind == JsonValueKind.Object
                && json.TryGetProperty("left", out JsonElement left) && left.ValueKind == JsonValueKind.Number && left.TryGetInt32(out milliseconds) && milliseconds >= 0
                && json.TryGetProperty("entry", out entry);
        }
        catch (InvalidOperationException)
        {
            // A property's name is not valid Unicode.
            return false;
        }
    }

    /// <summary>Foreign text without characters that a terminal or a reader of a log could misinterpret.</summary>
    public static string Printable(string text) => string.Concat(text.Where(static c => CharUnicodeInfo.GetUnicodeCategory(c) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.Surrogate)));
}
