using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using AllocTools.Hosting.Configuration;
using AllocTools.Providers;
using AllocTools.Validation;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>Writes the JSON schema of appsettings.json that is part of the package.</summary>
internal static class SchemaWriter
{
    private const string SizePattern = @"^\s*\d+\s*([KMGTkmgt][Ii])?[Bb]?\s*$";
    private const string TimePattern = @"^\s*(-?(\d+\.)?\d{1,2}:\d{1,2}(:\d{1,2}(\.\d{1,7})?)?|0|\d+(\.\d+)?\s*(us|µs|ms|s|m|min|h|d)|[Nn]ever|[Ii]nfinite)\s*$";

    private static readonly JsonSerializerOptions Format = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static string Schema()
    {
        // The options of any built-in provider: which one it is, is decided in the code.
        // Keys that several providers have are of the same kind; libfabric's endpoint, the first of them, has more.
        JsonObject provider = Section(KeyReference.Providers.GroupBy(k => k.Path, (_, keys) => OfAll([.. keys])));
        provider["description"] = "Options of the provider.";
        JsonObject pool = Section(KeyReference.Pool);
        pool["description"] = "A pool of registered memory.";
        pool["properties"]!["Provider"] = provider;
        pool["properties"]!["Connections"] = Section(KeyReference.Connections);
        pool["properties"]!["Connections"]!["description"] = "Connections over the pool (AddRmaConnections).";
        pool["properties"]!["Directory"] = Section(KeyReference.Directory);
        pool["properties"]!["Directory"]!["description"] = "The directory of the processes (AddRmaDirectory).";
        pool["properties"]!["Directory"]!["properties"]!["Redis"] = Section(KeyReference.Redis);
        pool["properties"]!["Directory"]!["properties"]!["Redis"]!["description"] = "The directory on Redis (UseRedis).";
        // Sections of named pools may be nested here.
        pool["additionalProperties"] = Reference();
        var root = new JsonObject
        {
            ["$schema"] = "http://json-schema.org/draft-07/schema#",
            ["type"] = "object",
            ["properties"] = new JsonObject { ["AllocTools"] = Reference() },
            ["definitions"] = new JsonObject { ["rmaMemoryPool"] = pool },
        };
        return root.ToJsonString(Format) + "\n";

        static JsonObject Reference() => new() { ["$ref"] = "#/definitions/rmaMemoryPool" };
    }

    /// <summary>Merges a key that several providers have, with its summaries for each.</summary>
    private static ReferenceKey OfAll(ReferenceKey[] keys) => keys[0] with { Summary = string.Join(" ", keys.Select(k => k.Summary).Distinct()) };

    private static JsonObject Section(IEnumerable<ReferenceKey> keys)
    {
        var properties = new JsonObject();
        foreach (ReferenceKey key in keys)
            properties[key.Key.Name] = Property(key);
        return new JsonObject { ["type"] = "object", ["properties"] = properties, ["additionalProperties"] = false };
    }

    private static JsonObject Property(ReferenceKey key)
    {
        JsonObject property = key.Key.Kind switch
        {
            RmaOptionKind.Integer => Number((OptionRangeAttribute)key.Rule!),
            RmaOptionKind.Size => new JsonObject { ["anyOf"] = new JsonArray(Number((OptionRangeAttribute)key.Rule!), Text(SizePattern)) },
            RmaOptionKind.Duration => Text(TimePattern),
            RmaOptionKind.Flag => new JsonObject { ["type"] = "boolean" },
            RmaOptionKind.Choice => new JsonObject { ["enum"] = new JsonArray([.. key.Key.Choices.Select(c => JsonValue.Create(c))]) },
            RmaOptionKind.Choices => Text($"^\\s*({string.Join('|', key.Key.Choices)})\\s*(,\\s*({string.Join('|', key.Key.Choices)})\\s*)*$"),
            RmaOptionKind.Text => new JsonObject { ["type"] = "string" },
            RmaOptionKind.Section => Section(key.Below),
            RmaOptionKind.List => new JsonObject { ["type"] = "array", ["items"] = Section(key.Below) },
            RmaOptionKind.Map => new JsonObject
            {
                ["type"] = "object",
                ["propertyNames"] = new JsonObject { ["pattern"] = "^(FI|MPICH|MPIR|OMPI|PMIX|PRTE|UCX)_" },
                ["additionalProperties"] = new JsonObject { ["type"] = new JsonArray("string", "integer", "boolean") },
            },
            _ => throw new InvalidOperationException($"The kind {key.Key.Kind} of {key.Path} has no schema here."),
        };
        property["description"] = key.Summary.Replace("`", "", StringComparison.Ordinal) + (key.IsLive ? " May change while the pool is in use." : "");
        if (key.Default is { } text)
            property["default"] = key.Key.Kind switch
            {
                RmaOptionKind.Integer => JsonValue.Create(int.Parse(text)),
                RmaOptionKind.Flag => JsonValue.Create(bool.Parse(text)),
                _ => JsonValue.Create(text),
            };
        return property;
    }

    private static JsonObject Number(OptionRangeAttribute range)
    {
        var number = new JsonObject { ["type"] = "integer", ["minimum"] = range.Least, ["maximum"] = range.Most };
        if (range.Multiple != 1)
            number["multipleOf"] = range.Multiple;
        return number;
    }

    private static JsonObject Text(string pattern) => new() { ["type"] = "string", ["pattern"] = pattern };
}
