using System.Buffers.Text;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using AllocTools.Endpoints;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Tests the text form of a <see cref="RemoteMemory"/>, for JSON, query strings and command lines.</summary>
public sealed partial class RemoteMemoryTextTests
{
    private static readonly RemoteMemory Plain = new(0x7f00_1234_5678, 5L << 30, 0xDEAD_BEEF_0BAD_F00D, RmaAccess.RemoteWrite);
    private static readonly RemoteMemory LongestRaw = new(10, 20, new byte[RemoteMemory.MaxKeyLength], 4711, RmaAccess.RemoteRead);

    public static TheoryData<RemoteMemory> All => [Plain, LongestRaw, default(RemoteMemory)];

    [Theory]
    [MemberData(nameof(All))]
    public void EveryFormComesBack(RemoteMemory memory)
    {
        string text = memory.Format();
        Assert.Equal(text, Uri.EscapeDataString(text));
        Assert.Equal(memory, RemoteMemory.Parse(text));
        Assert.True(RemoteMemory.TryParse(text, CultureInfo.InvariantCulture, out RemoteMemory parsed));
        Assert.Equal(memory, parsed);
        Assert.Equal(memory, ParseAs<RemoteMemory>(text));
        Assert.Equal(memory, JsonSerializer.Deserialize<RemoteMemory>(JsonSerializer.Serialize(memory)));
    }

    [Fact]
    public void AMessageWithAnAddressAndMemoryGoesThroughJson()
    {
        Invitation sent = new(new byte[] { 1, 2, 3 }, Plain);
        string json = JsonSerializer.Serialize(sent, InvitationContext.Default.Invitation);
        Assert.Equal($$"""{"Address":"AQID","Memory":"{{Plain.Format()}}"}""", json);
        Invitation received = JsonSerializer.Deserialize(json, InvitationContext.Default.Invitation)!;
        Assert.Equal(sent.Memory, received.Memory);
        Assert.Equal(sent.Address.ToArray(), received.Address.ToArray());
    }

    [Fact]
    public void WhatIsNoTextFormSaysWhy()
    {
        byte[] bytes = Plain.ToArray();
        Refused("", "at least");
        Refused("not base64!", "must be base64url");
        Refused(Base64Url.EncodeToString(bytes.AsSpan(0, bytes.Length - 1)), $"{bytes.Length - 1} were given");
        Refused(Base64Url.EncodeToString([.. bytes, 0]), $"must end after {bytes.Length} bytes");
        Refused(new string('A', 100_000), "at most");
        Refused("A" + Plain.Format()[1..], "0xA7");
        Assert.False(RemoteMemory.TryParse(null, null, out _));
        Assert.Throws<ArgumentNullException>(() => RemoteMemory.Parse(null!));
        foreach (string json in new[] { "17", "null", "{}", "[]", "true" })
            Assert.Throws<JsonException>(() => JsonSerializer.Deserialize<RemoteMemory>(json));

        static void Refused(string text, string why)
        {
            Assert.False(RemoteMemory.TryParse(text, null, out RemoteMemory parsed));
            Assert.Equal(default, parsed);
            Assert.Contains(why, Assert.Throws<FormatException>(() => RemoteMemory.Parse(text)).Message, StringComparison.Ordinal);
            Assert.Contains(why, Assert.Throws<JsonException>(() => JsonSerializer.Deserialize<RemoteMemory>($"\"{text}\"")).Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void WhatIsWrittenIntoTextForPeopleIsNotTheKey()
    {
        Assert.Equal(Plain.ToString(), $"{Plain}");
        Assert.DoesNotContain(Plain.Format(), string.Create(CultureInfo.InvariantCulture, $"{Plain}"), StringComparison.Ordinal);
    }

    private static T ParseAs<T>(string text)
        where T : ISpanParsable<T> => T.Parse(text.AsSpan(), null);

    /// <param name="Address">The address of an endpoint.</param>
    /// <param name="Memory">The memory that it exposes.</param>
    internal sealed record Invitation(ReadOnlyMemory<byte> Address, RemoteMemory Memory);

    [JsonSerializable(typeof(Invitation))]
    internal sealed partial class InvitationContext : JsonSerializerContext;
}
