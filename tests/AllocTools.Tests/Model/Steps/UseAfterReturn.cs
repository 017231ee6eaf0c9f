namespace AllocTools.Tests.Model.Steps;

/// <summary>Uses a returned buffer, and returns it again.</summary>
internal sealed record UseAfterReturn(int Buffer) : Step
{
    public override void Run(PoolModel model)
    {
        if (Pick(model.Past, Buffer) is { } lease)
            model.UseAfterReturn(lease);
    }
}
