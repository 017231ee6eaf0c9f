using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text.Json;
using AllocTools.Endpoints;

namespace AllocTools.Connections.Directories;

/// <summary>An entry with its revision, and its JSON form, which all directories store.</summary>
/// <param name="Entry">The entry.</param>
/// <param name="Revision">A number that grows with each publication of a process: its wall clock in units of 100 ns, or
/// the last number plus one while that clock is behind it. Only its order within a process decides what is kept.</param>
internal sealed record DirectoryRecord(RmaDirectoryEntry Entry, long Revision)
{
    public const int Version = 1;

    private const string Known = "version, name, process, revision, host, port and exposures";

    /// <summary>The error of text that can't be converted to a string.</summary>
    public const string NoUnicode = "it contains text that is not valid Unicode";

    private static readonly JsonDocumentOptions Strict = new() { MaxDepth = 3, AllowDuplicateProperties = false };

    public (string Name, Guid Process) Key => (Entry.Name, Entry.Process);

    public byte[] Encode()
    {
        var buffer = new ArrayBufferWriter<byte>(512);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("version", Version);
            json.WriteString("name", Entry.Name);
            json.WriteString("process", Entry.Process);
            json.WriteNumber("revision", Revision);
            json.WriteString("host", Entry.Host);
            json.WriteNumber("port", Entry.Port);
            json.WriteStartObject("exposures");
            foreach ((string name, RemoteMemory memory) in Entry.Exposures)
                json.WriteString(name, memory.Format());
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return buffer.WrittenSpan.ToArray();
    }

    /// <summary>Reads a record from an untrusted source: every field is checked.</summary>
    /// <param name="json">The JSON form.</param>
    /// <param name="name">The requested name.</param>
    /// <param name="record">The result.</param>
    /// <param name="error">The error, if false is returned.</param>
    public static bool TryRead(ReadOnlyMemory<byte> json, string name, [NotNullWhen(true)] out DirectoryRecord? record, [NotNullWhen(false)] out string? error)
    {
        record = null;
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, Strict);
            return TryRead(document.RootElement, name, out record, out error);
        }
        catch (JsonException e)
        {
            error = $"it is not the JSON of an entry{PlaceOf(e)}";
            return false;
        }
        catch (InvalidOperationException)
        {
            error = NoUnicode;
            return false;
        }
    }

    /// <inheritdoc cref="TryRead(ReadOnlyMemory{byte}, string, out DirectoryRecord?, out string?)"/>
    public static bool TryRead(JsonElement json, string name, [NotNullWhen(true)] out DirectoryRecord? record, [NotNullWhen(false)] out string? error)
    {
        try
        {
            return TryReadText(json, name, out record, out error);
        }
        catch (InvalidOperationException)
        {
            // The parser accepts text that fails only when it is converted to a string: unpaired surrogates, and bytes that are not UTF-8.
            (record, error) = (null, NoUnicode);
            return false;
        }
    }

    /// <summary>The place of an error. The parser's own message may quote everything up to the end, keys included.</summary>
    public static string PlaceOf(JsonException error) =>
        error is { LineNumber: { } line, BytePositionInLine: { } position } ? $" (at byte {position + 1} of line {line + 1})" : "";

    private static bool TryReadText(JsonElement json, string name, [NotNullWhen(true)] out DirectoryRecord? record, [NotNullWhen(false)] out string? error)
    {
        record = null;
        if (json.ValueKind != JsonValueKind.Object)
            return Fails("it is not a JSON object", out error);
        if (!json.TryGetProperty("version", out JsonElement version) || version.ValueKind != JsonValueKind.Number || !version.TryGetInt32(out int number))
            return Fails("it has no version", out error);
        if (number != Version)
            return Fails($"it has version {number}; this library reads version {Version}, and both sides need the same", out error);
        string? found = null;
        string? host = null;
        Guid process = default;
        long revision = 0;
        int port = 0;
        Dictionary<string, RemoteMemory>? exposures = null;
        foreach (JsonProperty property in json.EnumerateObject())
        {
            JsonElement value = property.Value;
            bool isRight = property.Name switch
            {
                "version" => true,
                "name" => value.ValueKind == JsonValueKind.String && (found = value.GetString()) is not null,
                "process" => value.ValueKind == JsonValueKind.String && value.TryGetGuid(out process),
                "revision" => value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out revision) && revision > 0,
                "host" => value.ValueKind == JsonValueKind.String && (host = value.GetString()) is { Length: > 0 and <= 255 },
                "port" => value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out port) && port is > 0 and <= IPEndPoint.MaxPort,
                "exposures" => value.ValueKind == JsonValueKind.Object,
                _ => false,
            };
            if (!isRight)
                return Fails($"its property '{Shorten(property.Name)}' is not valid; the properties must be {Known}", out error);
            if (property.Name == "exposures" && !TryReadExposures(value, out exposures, out error))
                return false;
        }
        if (found is null || host is null || process == Guid.Empty || revision == 0 || port == 0 || exposures is null)
            return Fails($"a property is missing; the properties must be {Known}", out error);
        if (found != name)
            return Fails("its name is not the one that was requested", out error);
        EndPoint endPoint = IPAddress.TryParse(host, out IPAddress? address) ? new IPEndPoint(address, port) : new DnsEndPoint(host, port);
        if (RmaDirectoryEntry.FindError(found, process, endPoint, exposures) is (_, string wrong))
            return Fails(wrong, out error);
        record = new DirectoryRecord(new RmaDirectoryEntry(found, process, endPoint, exposures), revision);
        error = null;
        return true;
    }

    private static bool TryReadExposures(JsonElement json, out Dictionary<string, RemoteMemory>? exposures, [NotNullWhen(false)] out string? error)
    {
        exposures = [];
        foreach (JsonProperty property in json.EnumerateObject())
        {
            if (exposures.Count == RmaDirectoryEntry.MaxExposures)
                return Fails($"it has more than {RmaDirectoryEntry.MaxExposures} exposures", out error);
            if (property.Value.ValueKind != JsonValueKind.String || !RemoteMemory.TryParse(property.Value.GetString(), null, out RemoteMemory memory))
                return Fails($"its exposure '{Shorten(property.Name)}' is not a RemoteMemory", out error);
            exposures[property.Name] = memory;
        }
        error = null;
        return true;
    }

    private static string Shorten(string text) => DirectoryWire.Printable(text.Length <= 32 ? text : text[..32] + "…");

    private static bool Fails(string what, [NotNullWhen(false)] out string? error)
    {
        error = what;
        return false;
    }
}
