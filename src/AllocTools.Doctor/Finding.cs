using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace AllocTools.Doctor;

/// <summary>The status of something that was examined.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<FindingStatus>))]
internal enum FindingStatus
{
    /// <summary>It is as it should be.</summary>
    [JsonStringEnumMemberName("ok")]
    Ok = 0,

    /// <summary>It works, but an operator of the machine should know about it.</summary>
    [JsonStringEnumMemberName("warning")]
    Warning = 1,

    /// <summary>It does not work, or will not.</summary>
    [JsonStringEnumMemberName("problem")]
    Problem = 2,

    /// <summary>It does not exist, and is not required.</summary>
    [JsonStringEnumMemberName("not applicable")]
    NotApplicable = 3,
}

/// <summary>The result of a check: one line.</summary>
/// <param name="Check">The name of the check, such as <c>memlock</c>.</param>
/// <param name="Status">The status.</param>
/// <param name="Message">The result, in a sentence.</param>
internal sealed record Finding(string Check, FindingStatus Status, string Message)
{
    /// <summary>What to do, in one line. Problems and warnings always have it.</summary>
    public string? Advice { get; init; }

    /// <summary>The values that were read or measured, by name, for programs.</summary>
    public JsonObject? Facts { get; init; }
}
