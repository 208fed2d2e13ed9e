const known=JSON.parse(document.getElementById("facts").textContent),svg=document.querySelector("svg"),
picture=document.getElementById("picture"),words=document.getElementById("words");let last=null;
function show(dot){if(last)last.classList.remove("on");last=dot;dot.classList.add("on");
const row=+dot.dataset.row,[path,label,suggested,alone]=known.facts[row],[w,h]=known.sizes[row],scale=224/known.side;
picture.classList.toggle("seen",w>0);picture.style.width=w*scale+"px";picture.style.height=h*scale+"px";
picture.style.backgroundSize=known.across*known.side*scale+"px auto";
picture.style.backgroundPosition=-(row%known.across)*known.side*scale+"px "+-Math.floor(row/known.across)*known.side*scale+"px";
words.replaceChildren();const add=(tag,text)=>{const one=document.createElement(tag);one.textContent=text;words.append(one)};
add("b",label||"no label");if(suggested)add("div","looks like "+suggested);if(alone)add("div","far from every other picture");add("div",path)}
svg.addEventListener("pointerover",event=>{if(event.target.dataset&&event.target.dataset.row)show(event.target)});
document.querySelectorAll(".legend button").forEach(button=>button.addEventListener("click",()=>{
const on=button.getAttribute("aria-pressed")!=="true";document.querySelectorAll(".legend button").forEach(one=>one.setAttribute("aria-pressed","false"));
button.setAttribute("aria-pressed",on);svg.classList.toggle("some",on);
document.querySelectorAll("circle").forEach(dot=>dot.classList.toggle("shown",on&&dot.dataset.class===button.dataset.class))}));
