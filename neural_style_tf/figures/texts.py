"""What is said beside each figure, in English and in Chinese, by its slug."""

from __future__ import annotations

from typing import NamedTuple


class Text(NamedTuple):
    """A heading and a paragraph in both languages."""

    english: str
    chinese_heading: str
    chinese: str


TEXTS = {
    "reconstructions": Text(
        "Both rows begin with noise and end with a picture that looks the same to the network. "
        "Above, one layer is to see in it what it sees in the photograph: the first layers keep "
        "every pixel (the numbers are decibels, and the share of the noise's error that is left in "
        "the features of that layer), the deep ones keep the things and where they are, and let "
        "colors and edges go. Below, only the Gram matrices of the painting are to match, which "
        "say what occurs together but not where: one layer gives colors and grain, more layers "
        "give strokes, then larger shapes. That content and style come apart in this way is what "
        "style transfer lives on.",
        "各层保留了什么：内容与风格的重建",
        "两行都从噪声出发，终点是一张在网络看来与原图相同的图。上排：要求某一层看到的与照片相"
        "同。浅层几乎保留每个像素（标注的是峰值信噪比，以及该层特征误差相对于噪声起点所剩的比"
        "例），深层保留的是有什么、在哪里，颜色和边缘则丢掉了。下排：只要求与画作的 Gram 矩阵一"
        "致，它记录哪些特征同时出现，却不记录在哪里。只用一层得到颜色和颗粒，层数越多，笔触越"
        "大，直到出现更大的形状。内容与风格能这样分开，正是风格迁移的依据。",
    ),
    "grid": Text(
        "From top to bottom the style is matched in more and more layers, from left to right the "
        "content weighs more (alpha over beta, as in figure 3 of the paper, with its losses and "
        "average pooling). On the left the painting rules, and the photograph is hardly there; on "
        "the right the photograph, with a breath of the painting's color. With the first layer "
        "alone there is only grain; strokes that follow the shapes need the deep ones.",
        "内容与风格之比，以及风格层数",
        "从上到下，参与风格损失的层越来越多；从左到右，内容的权重越来越大（即论文图 3 中的 "
        "α/β，损失与平均池化也照论文）。左边画作占主导，照片几乎看不见；右边照片占主导，只带一点画"
        "的颜色。只用第一层时只有颗粒感，要让笔触顺着物体的形状走，就需要深层。",
    ),
    "pooling": Text(
        "The same noise, the same losses and weights; between its blocks the network takes "
        "either the largest of four values, as it was trained, or their mean, as the paper "
        "advises because gradients then reach every pixel. Means are smaller, and the style "
        "loss, a difference of squares of them, shrinks far more than the content loss does: at "
        "the same weights the picture stays closer to the photograph, with softer color and a "
        "fine even weave. Maxima give crisper strokes and more contrast. With average pooling a "
        "larger style weight is worth a try, as in the recipe of the paper.",
        "最大池化与平均池化",
        "同样的噪声，同样的损失与权重；网络各段之间取四个值中的最大值（训练时如此），或取平均值"
        "（论文的建议，因为梯度能到达每个像素）。平均值比最大值小，风格损失取的是平方之差，因此"
        "比内容损失缩小得多：权重相同时，平均池化的结果离照片更近，颜色更柔和，带有细密均匀的纹"
        "路；最大池化笔触更锐利，对比更强。用平均池化时不妨加大风格权重，论文的配方正是如此。",
    ),
    "denoising": Text(
        "The total variation term adds up how much neighboring pixels differ. The deep layers "
        "see pixels only through poolings and leave a fine grain where nothing else speaks "
        "against it. The default takes the edge off that grain and leaves every stroke; ten "
        "times as much smooths the grain away, and thin strokes begin to melt together. At this "
        "size the difference is small, so the lower row shows the middle enlarged.",
        "全变差：去噪",
        "全变差项把相邻像素之差加起来。深层只能隔着池化看像素，在没有其他约束的地方会留下细碎的"
        "颗粒。默认权重只压低这些颗粒，笔触都还在；取十倍时颗粒被抹平，细的笔触也开始化到一起。"
        "在这个尺寸上差别不大，所以下排把中间部分放大。",
    ),
    "start": Text(
        "One objective, three ways to it. Coarse to fine, the large shapes are found on a small "
        "picture, where an iteration costs little, and the finer ones are added on the way up. At "
        "full size from noise everything has to be found at once. From the photograph the result "
        "comes sooner and stays closer to it, its colors above all. Iterations count evaluations "
        "of the loss; those at small sizes take a fraction of the time.",
        "从噪声开始还是从照片开始：图像逐渐浮现",
        "同一个目标，三条路。由粗到细：先在小图上找到大的形状，那里每次迭代都很便宜，再逐级加上"
        "细节。直接在原尺寸上从噪声开始，则一切要同时找到。从照片开始见效更快，但结果离照片更"
        "近，尤其是颜色。迭代次数按损失的计算次数算，小尺寸上的一次只用很少的时间。",
    ),
    "addition": Text(
        "Adding the two pictures gives two ghosts, one through the other: every pixel is mixed "
        "with a pixel that has nothing to do with it. Style transfer mixes what the network sees "
        "in them instead: the things of one, the strokes and colors of the other.",
        "为什么不直接相加？",
        "把两张图直接相加，只会得到互相透过的两个影子：每个像素都与一个毫不相干的像素混在一起。"
        "风格迁移混合的不是像素，而是网络在两张图里看到的东西：一张的物体，另一张的笔触和颜色。",
    ),
    "tweaks": Text(
        "Three knobs of the 2017 program. The exponent weighs each style layer against the one "
        "before: below 1 the first layers count most and the painting comes as fine strokes, above "
        "1 the deep ones, and whole shapes are borrowed. The blend moves the content from relu4_2 "
        "towards relu5_2, which leaves more to the painter. And the colors of the photograph can "
        "be kept, so that only light and dark are painted. Where the pictures that this program "
        "published are at hand, they stand below ours.",
        "笔触、抽象程度与颜色",
        "2017 年那个程序的三个旋钮。风格层权重指数：小于 1 时浅层为主，画风表现为细笔触；大于 1"
        " 时深层为主，整块的形状都会借过来。内容层混合：把内容从 relu4_2 移向 relu5_2，更抽象，"
        "画家的自由更大。还可以保留照片的颜色，只画明暗。如果手边有该程序公布的图片，就排在我们"
        "的下面对照。",
    ),
    "blend": Text(
        "The style losses of two paintings are added, each with its weight. In between lies not a "
        "cross-fade but a third style, with the strokes and colors of both in proportion.",
        "两种风格之间",
        "两幅画的风格损失按权重相加。中间的结果并不是两张图的淡入淡出，而是第三种风格：两者的笔"
        "触和颜色按比例同在。",
    ),
}
