using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace AllocTools.Doctor;

/// <summary>How something that was examined is.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<FindingStatus>))]
internal enum FindingStatus
{
    /// <summary>It is as it should be.</summary>
    [JsonStringEnumMemberName("ok")]
    Ok = 0,

    /// <summary>It works, and whoever runs the machine should know of it.</summary>
    [JsonStringEnumMemberName("warning")]
    Warning = 1,

    /// <summary>It does not work, or will not.</summary>
    [JsonStringEnumMemberName("problem")]
    Problem = 2,

    /// <summary>It is not there, and nothing asks for it.</summary>
    [JsonStringEnumMemberName("not applicable")]
    NotApplicable = 3,
}

/// <summary>What a check has found: one line.</summary>
/// <param name="Check">The name of the check, such as <c>memlock</c>.</param>
/// <param name="Status">How it is.</param>
/// <param name="Message">What was found, in a sentence.</param>
internal sealed record Finding(string Check, FindingStatus Status, string Message)
{
    /// <summary>What to do, in one line; a problem and a warning always have it.</summary>
    public string? Advice { get; init; }

    /// <summary>The values that were read or measured, by name, for programs.</summary>
    public JsonObject? Facts { get; init; }
}
