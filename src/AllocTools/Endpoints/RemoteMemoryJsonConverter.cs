using System.Text.Json;
using System.Text.Json.Serialization;

namespace AllocTools.Endpoints;

/// <summary>
/// Reads and writes a <see cref="RemoteMemory"/> as a JSON string with its text form (<see cref="RemoteMemory.Format"/>).
/// It applies automatically; it is public because generated serialization code creates an instance.
/// </summary>
public sealed class RemoteMemoryJsonConverter : JsonConverter<RemoteMemory>
{
    /// <inheritdoc/>
    public override RemoteMemory Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType != JsonTokenType.String)
            throw new JsonException($"A RemoteMemory must be a string with its text form, not a {reader.TokenType}.");
        return RemoteMemory.TryParse(reader.GetString(), out RemoteMemory memory, out string? error) ? memory : throw new JsonException(error);
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, RemoteMemory value, JsonSerializerOptions options)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.WriteStringValue(value.Format());
    }
}
