using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text.Json;
using AllocTools.Endpoints;

namespace AllocTools.Connections.Directories;

/// <summary>An entry with the number of its publication, and its form in JSON, which all directories keep.</summary>
/// <param name="Entry">The entry.</param>
/// <param name="Revision">Grows with each publication of a process; 100 ns of its clock where that goes forward.</param>
internal sealed record DirectoryRecord(RmaDirectoryEntry Entry, long Revision)
{
    public const int Version = 1;

    private const string Known = "version, name, process, revision, host, port and exposures";

    /// <summary>What is wrong with text that can't be made a string.</summary>
    public const string NoUnicode = "it has text that is no valid Unicode";

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

    /// <summary>Reads what may come from anywhere: every field is checked.</summary>
    /// <param name="json">The form in JSON.</param>
    /// <param name="name">The name that was asked for.</param>
    /// <param name="record">What was read.</param>
    /// <param name="error">What is wrong, where false is returned.</param>
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
            error = $"it is no JSON of an entry ({e.Message})";
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
            // The parser lets through what only fails when it is made a string: surrogates without their halves, and bytes that are no UTF-8.
            (record, error) = (null, NoUnicode);
            return false;
        }
    }

    private static bool TryReadText(JsonElement json, string name, [NotNullWhen(true)] out DirectoryRecord? record, [NotNullWhen(false)] out string? error)
    {
        record = null;
        if (json.ValueKind != JsonValueKind.Object)
            return Fails("it is no object", out error);
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
                return Fails($"its property '{Shorten(property.Name)}' is not valid; it has {Known}", out error);
            if (property.Name == "exposures" && !TryReadExposures(value, out exposures, out error))
                return false;
        }
        if (found is null || host is null || process == Guid.Empty || revision == 0 || port == 0 || exposures is null)
            return Fails($"something is missing; it has {Known}", out error);
        if (found != name)
            return Fails("it has another name than the one that was asked for", out error);
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
                return Fails($"its exposure '{Shorten(property.Name)}' is no RemoteMemory", out error);
            exposures[property.Name] = memory;
        }
        error = null;
        return true;
    }

    private static string Shorten(string text) => DirectoryLog.Printable(text.Length <= 32 ? text : text[..32] + "…");

    private static bool Fails(string what, [NotNullWhen(false)] out string? error)
    {
        error = what;
        return false;
    }
}
